"""k0s from a working ssh to all nodes Ready: Litelab's, against ``k0sctl apply`` on the same hosts with the same binary and images.

``LITELAB_K0S=... LITELAB_K0S_IMAGES=... LITELAB_K0SCTL=... python3 -m tests.perf.k0s [ROUNDS]``: a k0s binary, a folder of tars with
the images that it lists, a k0sctl of its vendor's. Exit code 3 when a target is missed. The hosts are nspawn hosts that both take in
turn, each by ssh as it would take any: Litelab as ``hosts.kind: existing``, which also looks at them and lists what is on them. Of curl, which k0sctl wants there, they get this machine's.
Ready is what the first controller says when it is asked every 0.3 s, not what either tool says; what each then waits for further
(Litelab: cluster DNS) is in the second figure. Beside them the same install by shell alone, ``k0s-shell.sh``, up to cluster DNS. Held, of
medians: Ready sooner than with k0sctl; ``up <= 1.1 x shell + no-op``; and workers' joins that begin within a second of each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.perf.hosts import hosts_program
from tests.perf.rounds import (
    FOLDER,
    NOOP_STACK,
    PERF,
    Figures,
    environment,
    interleave,
    pulumi,
    run,
    stack_of_its_own,
    timed,
)
from tests.perf.shape import noop_program, write_shape
from tools import places

HOSTS_STACK, STACK = "perf-k0s-hosts", "perf-k0s"
NAMES = ("host-1", "host-2", "host-3")
START_APART_S = 1.0
UP_LIMIT = 1.1
READY_S = 600
ON_HOST = (PERF / "k0s.sh").read_text(encoding="utf-8")
"""Verbs for root's bash on a host: ``clean``; ``ready SECONDS``."""


def given(name: str) -> str:
    """What the environment must name.

    Raises:
        SystemExit: it does not.
    """
    path = os.environ.get(name, "")
    if not Path(path).exists() or not path:
        sys.exit(f"{name} must name what is compared; the first lines of tests/perf/k0s.py say what")
    return path


def ssh_words(host: str) -> list[str]:
    """A call of ssh, as the hosts' own stack has it."""
    return ["ssh", "-F", str(places.OWN / "run" / HOSTS_STACK / "ssh_config"), host]


def give_curl(folder: Path) -> None:
    """k0sctl would install curl on hosts, which reach no archive: this machine's own, with what it is linked to, does instead."""
    curl = shutil.which("curl")
    if curl is None:
        sys.exit("k0sctl needs curl on the hosts, and this machine has none to give them: apt-get install curl")
    linked = subprocess.run(["ldd", curl], capture_output=True, text=True, check=True).stdout.split()
    place = folder / "curl"
    place.mkdir()
    for path in (curl, *(word for word in linked if word.startswith("/") and "ld-linux" not in word)):
        shutil.copy(path, place)
    script = (
        "mkdir -p /opt/curl && tar -xf - -C /opt/curl && printf '#!/bin/sh\\nLD_LIBRARY_PATH=/opt/curl exec /opt/curl/curl \"$@\"\\n' "
        ">/usr/local/bin/curl && chmod 755 /usr/local/bin/curl && curl --version >/dev/null"
    )
    packed = subprocess.run(["tar", "-C", str(place), "-cf", "-", "."], capture_output=True, check=True).stdout
    for name in NAMES:
        subprocess.run([*ssh_words(name), script], input=packed, check=True, stdout=subprocess.DEVNULL)


def clean() -> None:
    """The hosts as they were, whatever ran on them."""
    for name in NAMES:
        subprocess.run([*ssh_words(name), "bash -s clean"], input=ON_HOST, text=True, check=True, timeout=READY_S)


@contextlib.contextmanager
def ready_watcher() -> Iterator[list[float]]:
    """Puts the seconds until the first controller sees both workers Ready into a list that is empty at first."""
    seconds: list[float] = []
    began = time.monotonic()
    watcher = subprocess.Popen(
        [*ssh_words("host-1"), f"bash -s ready {READY_S}"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert watcher.stdin
    watcher.stdin.write(ON_HOST)
    watcher.stdin.close()

    def watch() -> None:
        if watcher.wait() == 0:
            seconds.append(time.monotonic() - began)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seconds
        thread.join(READY_S)
    finally:
        if watcher.poll() is None:
            watcher.terminate()
        thread.join(10)


def existing() -> dict[str, Any]:
    """The hosts, as a lab takes what is there."""
    folder = places.OWN / "run" / HOSTS_STACK
    prefix = dict(line.split("=", 1) for line in (folder / "lab.env").read_text(encoding="utf-8").splitlines())[
        "PREFIX"
    ]
    addresses = [f"{prefix}.{10 + number}" for number in (1, 2, 3)]
    keys = dict(line.split(" ", 1) for line in (folder / "known_hosts").read_text(encoding="utf-8").splitlines())
    known = [f"{address} {keys[name]}" for address, name in zip(addresses, NAMES, strict=True)]
    return {"kind": "existing", "addresses": addresses, "key": str(folder / "id_ed25519"), "hostKeys": known}


def k0sctl_config(folder: Path, hosts: dict[str, Any], version: str, lab_config: str, dropin: str) -> Path:
    """A ``k0sctl.yaml`` that installs what Litelab installs: its k0s.yaml, drop-in, images and flags."""
    images = [
        {"name": path.name, "src": str(path), "dstDir": "/var/lib/k0s/images", "perm": "0644"}
        for path in sorted(Path(given("LITELAB_K0S_IMAGES")).glob("*.tar"))
    ]
    (folder / "litelab.toml").write_text(dropin, encoding="utf-8")
    told = {"name": "drop-in", "src": str(folder / "litelab.toml"), "dstDir": "/etc/k0s/containerd.d", "perm": "0644"}
    listed = []
    for number, address in enumerate(hosts["addresses"]):
        is_worker = number > 0
        listed.append(
            {
                "role": "worker" if is_worker else "controller",
                "ssh": {"address": address, "user": "root", "port": 22, "keyPath": hosts["key"]},
                "uploadBinary": True,
                "k0sBinaryPath": given("LITELAB_K0S"),
                "files": [told, *images] if is_worker else [told],
                "installFlags": ["--profile=litelab-container"]
                if is_worker
                else ["--disable-components=metrics-server,autopilot,helm,update-prober"],
            }
        )
    config = {
        "apiVersion": "k0sctl.k0sproject.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "perf"},
        "spec": {"hosts": listed, "k0s": {"version": version, "config": yaml.safe_load(lab_config)}},
    }
    path = folder / "k0sctl.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    (folder / "known_hosts").write_text("".join(f"{line}\n" for line in hosts["hostKeys"]), encoding="utf-8")
    return path


def shell_folder(folder: Path, lab_config: str) -> Path:
    """What ``k0s-shell.sh`` copies; the drop-in is there already."""
    (folder / "k0s.yaml").write_text(lab_config, encoding="utf-8")
    (folder / "k0s").symlink_to(Path(given("LITELAB_K0S")).resolve())
    (folder / "images").symlink_to(Path(given("LITELAB_K0S_IMAGES")).resolve())
    return folder


def joins_apart() -> float:
    """Seconds between the moments at which the two workers' join steps began, from their hosts' own records."""
    began = []
    for name in NAMES[1:]:
        command = [*ssh_words(name), "cat /var/lib/litelab/steps.jsonl; stat -c %.Y /var/lib/litelab/steps.jsonl"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
        *steps, written = shown.splitlines()
        last = json.loads(steps[-1])
        if last["step"] != "node":
            sys.exit(f"{name}'s last step is {last['step']}, and it should be its join")
        began.append(float(written) - float(last["seconds"]))
    return abs(began[0] - began[1])


def main(rounds: int) -> int:
    """Measure and hold against the targets."""
    figures = Figures("k0s from ssh to Ready")
    binary, images, k0sctl = (given(name) for name in ("LITELAB_K0S", "LITELAB_K0S_IMAGES", "LITELAB_K0SCTL"))
    version = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout.strip()
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="k0s-", dir=FOLDER))
    try:
        with (
            hosts_program() as program,
            stack_of_its_own(HOSTS_STACK, program),
            noop_program() as noop,
            stack_of_its_own(NOOP_STACK, noop),
        ):
            pulumi("up", HOSTS_STACK, cwd=program)
            hosts = existing()
            give_curl(folder)
            clean()
            settings = {
                "lab": "k0s-lab", "workloads": "[]", "version": version, "artifacts": json.dumps({"k0s": binary}),
                "images": json.dumps([images]), "hosts": json.dumps(hosts),
            }  # fmt: skip
            with stack_of_its_own(STACK, places.PROJECT, **settings):

                def litelab() -> None:
                    with ready_watcher() as ready:
                        figures.add("litelab up", pulumi("up", STACK))
                    figures.add("litelab to Ready", ready[0])
                    figures.add("litelab joins apart", joins_apart())
                    pulumi("destroy", STACK)
                    clean()

                def vendor() -> None:
                    apply = [k0sctl, "apply", "--config", str(config)]
                    with ready_watcher() as ready:
                        figures.add(
                            "k0sctl apply", timed(apply, extra={"SSH_KNOWN_HOSTS": str(folder / "known_hosts")})
                        )
                    figures.add("k0sctl to Ready", ready[0])
                    clean()

                def plain() -> None:
                    with ready_watcher() as ready:
                        figures.add(
                            "shell", timed([str(PERF / "k0s-shell.sh"), *ssh_words("host-1")[2:3], str(by_shell)])
                        )
                    figures.add("shell to Ready", ready[0])
                    clean()

                def nothing() -> None:
                    figures.add("no-op up", pulumi("up", NOOP_STACK, cwd=noop))
                    pulumi("destroy", NOOP_STACK, cwd=noop)

                # Once before all rounds: every program's pages are in memory, and what Litelab writes is there to be copied.
                pulumi("up", STACK)
                write_shape(noop, STACK)
                read = [*ssh_words("host-1"), "cat /etc/k0s/k0s.yaml"], [*ssh_words("host-2"), "cat /etc/k0s/containerd.d/litelab.toml"]  # fmt: skip
                lab_config, dropin = (
                    subprocess.run(
                        words, capture_output=True, text=True, check=True, env=environment(), stdin=subprocess.DEVNULL
                    ).stdout
                    for words in read
                )
                pulumi("destroy", STACK)
                clean()
                config = k0sctl_config(folder, hosts, version, lab_config, dropin)
                by_shell = shell_folder(folder, lab_config)
                interleave(figures, rounds, [litelab, vendor, plain, nothing])
    finally:
        shutil.rmtree(folder)
    figures.hold("litelab to Ready / k0sctl to Ready", figures.median("litelab to Ready") / figures.median("k0sctl to Ready"), 1.0)  # fmt: skip
    figures.hold_beside("litelab up", "shell", "no-op up", UP_LIMIT)
    figures.hold("workers' joins begin apart", max(figures.seconds["litelab joins apart"]), START_APART_S, "s")
    return figures.finish()


if __name__ == "__main__":
    run(main)
