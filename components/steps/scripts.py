"""Scripts that steps run, and the copies of them that a stack uses.

A part's scripts are the folder ``scripts`` in the part's own folder: ``components/hosts/nspawn/scripts`` are those of ``nspawn``.
They are copied to ``.lab/run/<stack>/<part>-<hash>`` when the program runs. The hash is what makes a step run again; the copy is what
an older lab's ``delete`` still finds.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from components.places import PROJECT, run_folder
from components.steps.digests import digest_of

COMPONENTS = PROJECT / "components"
FOLDER = "scripts"


@dataclass(frozen=True)
class Scripts:
    """One part's scripts, as a stack uses them.

    Attributes:
        part: the name of the folder that has the scripts.
        digest: first 12 hex digits of the SHA-256 over names, modes and contents.
        folder: where the stack's copy is, relative to the project.
    """

    part: str
    digest: str
    folder: str


def scripts_of(part: str) -> Path:
    """The folder of a part's scripts: ``nspawn``, ``k0s``, ``clusters`` (what distributions share), ``ssh``.

    Raises:
        LookupError: no part has this name.
    """
    folders = [COMPONENTS / part / FOLDER, *COMPONENTS.glob(f"*/{part}/{FOLDER}")]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        msg = f"components/ has no part {part!r}"
        raise LookupError(msg)
    return found


def publish(part: str, stack: str, *, dry_run: bool, also: Sequence[str] = ()) -> Scripts:
    """Copy a part's scripts into the stack's run folder, unless that very content is there; a preview copies nothing.

    Those of the parts in ``also`` come too; the part's own win.
    """
    sources = [scripts_of(name) for name in (*also, part)]
    digest = digest_of(*sources)
    folder = run_folder(stack) / f"{part}-{digest}"
    target = PROJECT / folder
    if not dry_run and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = Path(mkdtemp(dir=target.parent, prefix=f".{part}-"))
        for source in sources:
            shutil.copytree(source, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        copy.chmod(0o755)
        copy.replace(target)
    return Scripts(part, digest, str(folder))
