"""Which labs are orphans: never one whose hosts run, and none is removed without its name."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.hosts.nspawn.scripts import orphans
from components.hosts.nspawn.scripts.orphans import Lab, Mount
from tests.unit.components.onhost import NEEDS_ROOT, on_host

ID = "x-lab-abc123"
PLACE = f"/run/litelab/labs/{ID}/host-1"


def bind(root: str, device: str = "8:1") -> Mount:
    return Mount(device, root, PLACE, "/dev/sda1")


class TestFound:
    @pytest.mark.parametrize(
        ("names", "namespaces", "mounted", "cgroups"),
        [
            ([ID], [], [], []),
            ([], [f"litelab-{ID}"], [], []),
            ([], [f"litelab-{ID}-host-12"], [], []),
            ([], [], [Mount("0:1", "/", "/x/hosts/host-1/root", f"litelab-{ID}")], []),
            ([], [], [bind("/home/c/.lab/run/x-lab/hosts/host-1")], []),
            ([], [], [], [f"/sys/fs/cgroup/memory/litelab/{ID}"]),
            ([], [], [], [f"/sys/fs/cgroup/litelab/{ID}/host-1/init.scope"]),
            ([], [], [], [f"/sys/fs/cgroup/litelab.slice/litelab-{ID}-host-1.service"]),
        ],
    )
    def test_every_trace_shows_the_lab(
        self, names: list[str], namespaces: list[str], mounted: list[Mount], cgroups: list[str]
    ) -> None:
        assert orphans.ids(names, namespaces, mounted, cgroups) == [ID]

    def test_what_is_no_labs_is_none(self) -> None:
        assert orphans.ids(["lock"], ["cni-1"], [Mount("8:1", "/", "/", "/dev/sda1")], ["/sys/fs/cgroup/litelab"]) == []

    @pytest.mark.parametrize(
        ("cgroups", "number"),
        [
            ({f"/c/memory/litelab/{ID}/host-1": 2, f"/c/memory/litelab/{ID}/host-1/a": 3, f"/c/pids/litelab/{ID}/host-1": 5}, 5),
            ({f"/c/litelab.slice/litelab-{ID}-host-1.service/payload": 4}, 4),
            ({f"/c/memory/litelab/{ID}-other/host-1": 2, f"/c/memory/litelab/other-{ID}/host-1": 2}, 0),
            ({f"/c/memory/litelab/{ID}/host-1": 0}, 0),
        ],
    )  # fmt: skip
    def test_its_processes_are_those_in_its_cgroups(self, cgroups: dict[str, int], number: int) -> None:
        assert orphans.processes(ID, cgroups) == number


class TestFolder:
    """A mount follows a folder that is moved; what the lab's entry says does not."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        run = tmp_path / "new place" / ".lab" / "run" / "x-lab"
        (run / "hosts" / "host-1").mkdir(parents=True)
        (run / "lab.env").write_text(f"LAB_ID={ID}\nPREFIX=10.87.3\n")
        return run

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Path:
        (tmp_path / "labs" / ID).mkdir(parents=True)
        (tmp_path / "labs" / ID / "run").write_text(f"{tmp_path}/old/.lab/run/x-lab\n")
        return tmp_path / "labs"

    @pytest.mark.parametrize("top", ["/", "/home"])
    def test_it_is_found_where_it_is_now(self, run: Path, registry: Path, top: str) -> None:
        root = str(run / "hosts/host-1")
        base = (
            Mount("8:1", "/", "/", "/dev/sda1")
            if top == "/"
            else Mount("8:1", "/sub" + str(run.parents[3]), str(run.parents[3]), "x")
        )
        mounted = [base, bind(root if top == "/" else "/sub" + root)]
        assert orphans.run_of(ID, mounted, registry) == (run, f"{registry.parent}/old/.lab/run/x-lab")

    def test_one_that_was_deleted_is_gone(self, registry: Path) -> None:
        mounted = [Mount("8:1", "/", "/", "/dev/sda1"), bind("/nowhere/.lab/run/x-lab/hosts/host-1//deleted")]
        assert orphans.run_of(ID, mounted, registry)[0] is None

    def test_another_lab_at_the_old_place_is_not_it(self, run: Path, registry: Path) -> None:
        (registry / ID / "run").write_text(f"{run}\n")
        (run / "lab.env").write_text("LAB_ID=x-lab-999999\n")
        assert orphans.run_of(ID, [], registry)[0] is None

    def test_blanks_in_mountinfo_are_octal(self) -> None:
        line = "63 27 254:0 /d\\303\\266\\040or/hosts/host-1 /run/x rw,relatime shared:1 - ext4 /dev/vda rw"
        (mount,) = orphans.mounts(line)
        assert mount.root.endswith(" or/hosts/host-1")
        assert orphans.mounts("garbage\n\n1 2\n") == []


class TestDecision:
    @pytest.mark.parametrize(
        ("known", "processes", "is_orphan"), [(True, 0, False), (True, 9, False), (False, 9, False), (False, 0, True)]
    )
    def test_a_lab_whose_hosts_run_is_none(self, known: bool, processes: int, is_orphan: bool) -> None:
        assert Lab(ID, known=known, processes=processes).is_orphan is is_orphan

    def test_each_line_has_the_name_that_removes_it(self) -> None:
        run = Path("/c/.lab/run/x-lab")
        assert f"'make orphans REMOVE={ID}'" in str(Lab(ID))
        running = str(Lab(ID, run, hosts=("host-1",), processes=9))
        assert "it is no orphan" in running
        assert "'make destroy STACK=x-lab' in /c" in running

    @pytest.mark.parametrize(
        ("name", "lab", "says"),
        [
            (ID, Lab(ID, Path("/c/.lab/run/x-lab"), known=True), "'make destroy STACK=x-lab' there"),
            ("x-lab-000000", Lab(ID), "there is no lab 'x-lab-000000'"),
            ("litelab-x-000000", Lab(ID), ""),
            (ID, Lab(ID), ""),
            (ID, Lab(ID, processes=9), ""),
        ],
    )
    def test_what_a_state_knows_or_nobody_listed_is_refused(self, name: str, lab: Lab, says: str) -> None:
        why = orphans.refusal(name, [lab])
        assert says in why
        assert bool(says) is bool(why)


LISTED = f"mkdir -p /run/litelab/labs/{ID}; echo /nowhere >/run/litelab/labs/{ID}/run; "
ORPHANS = 'bash "$COMPONENTS/hosts/nspawn/scripts/orphans.sh" '


def test_a_lab_that_ends_while_it_is_looked_at_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ID, "y-lab-abc123"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(orphans, "REGISTRY", tmp_path)
    monkeypatch.setattr(orphans, "_traces", lambda: ([], [], {}))
    look = orphans.run_of

    def ends(lab: str, mounted: Sequence[Mount]) -> tuple[Path | None, str]:
        if lab == ID:
            (tmp_path / ID).rmdir()
        return look(lab, mounted, tmp_path)

    monkeypatch.setattr(orphans, "run_of", ends)
    assert [lab.id for lab in orphans.labs()] == ["y-lab-abc123"]


@NEEDS_ROOT
class TestScript:
    def test_nothing_goes_without_a_name(self) -> None:
        done = on_host(f"{LISTED} {ORPHANS} --remove; code=$?; ls /run/litelab/labs; exit $code")
        assert done.returncode == 1
        assert f"'make orphans REMOVE={ID}' removes it" in done.stdout
        assert "Nothing was removed: 'make orphans REMOVE=LAB'" in done.stderr

    def test_the_named_one_goes(self) -> None:
        other = "y-lab-abc123"
        done = on_host(f"{LISTED} mkdir -p /run/litelab/labs/{other}; {ORPHANS} --remove {ID}; ls /run/litelab/labs")
        assert done.stdout == f"lab {ID}: removed\n{other}\n"

    def test_one_whose_hosts_run_stays_beside_all_flags_but_its_name(self) -> None:
        cgroup = Path("/sys/fs/cgroup/pids")
        if not (cgroup / "cgroup.procs").exists():
            pytest.skip("no cgroup v1")
        folder = cgroup / "litelab" / ID / "host-1"
        with subprocess.Popen(["sleep", "60"]) as process:
            try:
                folder.mkdir(parents=True)
                (folder / "cgroup.procs").write_text(str(process.pid))
                done = on_host(f"{LISTED} {ORPHANS} --remove; echo $?")
                assert "its hosts run (1 processes), so it is no orphan" in done.stdout
                assert process.poll() is None
            finally:
                process.kill()
                process.wait()
                for path in (folder, folder.parent):
                    path.rmdir()

    def test_leftovers_are_those_of_the_run_folder_alone(self) -> None:
        assert on_host(f"{LISTED} {ORPHANS} --of /elsewhere --remove; ls /run/litelab/labs").stdout == f"{ID}\n"
        assert on_host(f"{LISTED} {ORPHANS} --of /nowhere --remove; ls /run/litelab").stdout == f"lab {ID}: removed\n"
