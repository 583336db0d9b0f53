"""``make fuzz``: every property again and again with new seeds, for MINUTES; ends with the first round in which one does not hold."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = "400"


def main() -> int:
    """Run rounds until the time is over; 1 with the command that repeats the round that failed."""
    minutes = float(os.environ.get("MINUTES") or 20)
    end = time.monotonic() + minutes * 60
    folder, rounds = Path(__file__).parent, 0
    while time.monotonic() < end:
        rounds += 1
        words = ["-q", "-n", "2", f"--hypothesis-seed={secrets.randbelow(2**32)}", str(folder)]
        began = time.monotonic()
        environment = {**os.environ, "FUZZ_EXAMPLES": os.environ.get("FUZZ_EXAMPLES", EXAMPLES)}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            print(done.stdout, done.stderr, sep="\n")
            print(f"Again: FUZZ_EXAMPLES={environment['FUZZ_EXAMPLES']} pytest {' '.join(words)}")
            return 1
        print(f"round {rounds}: {words[3]}, {time.monotonic() - began:.0f} s, every property holds", flush=True)
    print(f"{rounds} rounds in {minutes:g} minutes: no crash, no traceback.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
