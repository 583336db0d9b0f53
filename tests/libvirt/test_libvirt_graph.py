"""What the program declares for a libvirt lab, against Pulumi's mocks. Needs the package pulumi-libvirt and no libvirt."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pulumi import resource_hooks

from components import places
from components.steps import scripts
from tests.graph import declared
from tests.graph.declared import SECRET, Graph, texts

BOOTED = {"digest": "d1", "disk": "/cache/disk.qcow2", "kernel": "/cache/vmlinuz", "initrd": "/cache/initrd.img"}
PLACE = {"id": "litelab-x-lab-abc123", "prefix": "10.87.3", "pool": "/var/lib/libvirt/images/litelab-x-lab-abc123"}


@pytest.fixture
def booted() -> dict[str, str]:
    return dict(BOOTED)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, booted: dict[str, str]) -> Any:
    """Declares a libvirt lab of the given host settings."""
    monkeypatch.setattr("components.steps.scripts.PROJECT", tmp_path)
    plain = declared._Steps._stdout

    def stdout(self: Any, args: Any) -> str:
        if args.name == "keys" or args.name.startswith("key-host"):
            return json.dumps({"private": f"{SECRET} {args.name}", "public": f"ssh-ed25519 {args.name}"})
        if args.name == "api":
            return f"{SECRET} kubeconfig by loopback"
        told = {"image": booted, "place": PLACE}.get(args.name)
        said = json.dumps(told) if told else plain(self, args)
        if args.name.startswith("host-") and "THROUGH" in declared._unwrapped(args.inputs)["environment"]:
            return json.dumps({**json.loads(said), "port": 20000 + int(args.name[-1])})
        return said

    monkeypatch.setattr(declared._Steps, "_stdout", stdout)
    # Pulumi's mocks have no server that the engine would call hooks on.
    monkeypatch.setattr(resource_hooks, "register_resource_hook", lambda _hook: asyncio.ensure_future(asyncio.sleep(0)))
    return lambda workers=2, preview=False, **hosts: declared.declare(
        {"workers": workers, "workloads": [], "hosts": {"kind": "libvirt", **hosts}}, preview=preview
    )


@pytest.fixture
def graph(lab: Any) -> Graph:
    found: Graph = lab()
    return found


def of_type(graph: Graph, kind: str) -> dict[str, Any]:
    return {n: r for n, r in graph.resources.items() if r.type == f"libvirt:index/{kind}:{kind[0].upper()}{kind[1:]}"}


def changed(before: Graph, after: Graph) -> set[str]:
    """Names of what both declare, and not alike."""
    both = before.resources.keys() & after.resources.keys()
    return {
        n
        for n in both
        if before.resources[n].inputs != after.resources[n].inputs or trigger(before, n) != trigger(after, n)
    }


def trigger(graph: Graph, name: str) -> str:
    return str(getattr(graph.resources[name].request, "replacement_trigger", ""))


def test_everything_in_libvirt_has_the_labs_own_name_or_is_in_its_own_pool(graph: Graph) -> None:
    for resource in graph.resources.values():
        if not resource.type.startswith("libvirt:"):
            continue
        plain = resource.plain
        assert plain["name"].startswith(PLACE["id"]) or plain["pool"] == PLACE["id"], resource.name


def test_no_guest_waits_for_a_lease_and_dhcp_is_off(graph: Graph) -> None:
    (network,) = of_type(graph, "network").values()
    assert network.plain["dhcp"] == {"enabled": False}
    for domain in of_type(graph, "domain").values():
        (link,) = domain.plain["networkInterfaces"]
        assert set(link) == {"networkId", "mac"}


@pytest.mark.parametrize(
    ("accelerator", "kind", "cpu"), [("kvm", "kvm", "host-passthrough"), ("tcg", "qemu", "maximum")]
)
def test_the_type_is_always_said_and_the_processor_fits_it(lab: Any, accelerator: str, kind: str, cpu: str) -> None:
    for domain in of_type(lab(accelerator=accelerator), "domain").values():
        assert domain.plain["type"] == kind
        assert domain.plain["cpu"] == {"mode": cpu}


def test_keyless_words_of_the_kernels_command_line_are_in_a_last_map_of_their_own(graph: Graph) -> None:
    for domain in of_type(graph, "domain").values():
        *others, last = domain.plain["cmdlines"]
        assert set(last) == {"_"}
        assert all("_" not in each for each in others)


def test_the_machine_has_the_ide_that_the_first_settings_come_on(graph: Graph) -> None:
    assert {d.plain["machine"] for d in of_type(graph, "domain").values()} == {"pc"}


def test_guests_differ_in_name_address_and_key_alone(graph: Graph) -> None:
    alike = []
    for domain in of_type(graph, "domain").values():
        plain = {k: v for k, v in domain.plain.items() if k not in {"name", "disks", "cloudinit"}}
        alike.append({**plain, "networkInterfaces": [{**link, "mac": ""} for link in plain["networkInterfaces"]]})
    assert alike == [alike[0]] * 3


def test_no_private_key_is_in_plain_text_anywhere(graph: Graph) -> None:
    for resource in graph.resources.values():
        assert not [text for text in texts(resource.shown) if SECRET in text], resource.name


def test_what_the_seed_says_stays_secret_in_the_state(graph: Graph) -> None:
    for seed in of_type(graph, "cloudInitDisk").values():
        assert "userData" in seed.secret_inputs
        assert "userData" in seed.request.additionalSecretOutputs


def test_before_anything_is_made_what_a_killed_run_left_under_its_name_is_taken_away(graph: Graph) -> None:
    made = [r for r in graph.resources.values() if r.type.startswith("libvirt:index/")]
    assert len(made) == 2 + 3 + 3 * 3
    assert {tuple(r.request.hooks.before_create) for r in made} == {("libvirt-clear",)}


def test_plain_destroy_runs_no_hook(graph: Graph) -> None:
    for resource in graph.resources.values():
        assert not resource.request.hooks.before_delete
        assert not resource.request.hooks.after_delete


def test_disk_settings_and_machine_are_made_anew_together(graph: Graph) -> None:
    for n in (1, 2, 3):
        request = graph.resources[f"domain-host-{n}"].request
        names = {urn.rpartition("::")[2] for urn in request.replace_with}
        assert names == {f"disk-host-{n}", f"seed-host-{n}"}
        assert request.deleteBeforeReplace


def test_another_image_makes_every_guest_anew(lab: Any, booted: dict[str, str]) -> None:
    before = lab()
    booted["digest"] = "d2"
    assert {"disk", "disk-host-1", "seed-host-3"} <= changed(before, lab())


def test_a_worker_more_changes_no_other_guest(lab: Any) -> None:
    guests = {n for n in changed(lab(), lab(workers=3)) if "host-" in n and not n.startswith(("stage", "node"))}
    assert guests == set()


def test_a_moved_image_changes_nothing_in_the_steps(lab: Any, booted: dict[str, str]) -> None:
    before = lab()
    booted["disk"] = "/elsewhere/disk.qcow2"
    assert trigger(before, "disk-host-1") == trigger(lab(), "disk-host-1")


@pytest.mark.parametrize(("folder", "is_made_anew"), [("clusters", False), ("catalog", True)])
def test_a_script_that_only_distributions_share_makes_no_guest_anew(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, is_made_anew: bool
) -> None:
    before = lab()
    components = tmp_path / "changed"
    shutil.copytree(scripts.COMPONENTS, components)
    with next((components / folder / "scripts").glob("*.py")).open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(scripts, "COMPONENTS", components)
    assert ({"keys", "image", "place", "host-1"} <= changed(before, lab())) == is_made_anew
    assert ({"keys", "image", "place", "host-1"} & changed(before, lab()) != set()) == is_made_anew


def test_an_image_by_path_boots_from_its_own_disk(lab: Any) -> None:
    graph = lab(image={"source": "/images/x.qcow2", "sha256": "0" * 64})
    for domain in of_type(graph, "domain").values():
        assert "kernel" not in domain.plain
    assert "kernel" not in graph.resources
    assert json.loads(graph.commands["image"].plain["environment"]["IMAGE"]) == {
        "sha256": "0" * 64,
        "source": "/images/x.qcow2",
    }


def test_the_first_thing_after_the_guest_is_its_verified_login(graph: Graph) -> None:
    for n in (1, 2, 3):
        step = graph.commands[f"host-{n}"]
        assert step.plain["environment"]["HOST_KEY"] == f"ssh-ed25519 key-host-{n}"
        assert step.plain["environment"]["ADDRESS"] == f"10.87.3.{10 + n}"
        assert graph.deleted_with(f"stage-host-{n}") == f"host-{n}"


def test_no_console_or_screen_listens_on_a_port(graph: Graph) -> None:
    for domain in of_type(graph, "domain").values():
        assert domain.plain["graphics"] == {"type": "vnc", "listenType": "socket"}
        assert [c["type"] for c in domain.plain["consoles"]] == ["pty"]


def test_only_a_lab_with_a_way_out_asks_for_names_outside(lab: Any) -> None:
    (closed,) = of_type(lab(), "network").values()
    (opened,) = of_type(lab(internet=True), "network").values()
    assert (closed.plain["mode"], opened.plain["mode"]) == ("none", "nat")
    assert closed.plain["dnsmasqOptions"] == {"options": [{"optionName": "no-resolv"}]}
    assert "dnsmasqOptions" not in opened.plain


REMOTE = "qemu+ssh://me@big.example:2222/system?keyfile=/home/me/.ssh/lab"


class TestReachedThroughAnotherMachine:
    """Hosts whose libvirt is on a machine that alone reaches them."""

    def test_a_hosts_own_step_opens_its_way_by_the_operators_ssh(self, lab: Any) -> None:
        graph = lab(uri=REMOTE)
        for n in (1, 2, 3):
            told = graph.commands[f"host-{n}"].plain["environment"]
            assert told["THROUGH"] == "ssh://me@big.example:2222?keyfile=/home/me/.ssh/lab"
            assert told["ADDRESS"] == f"10.87.3.{10 + n}"

    def test_hosts_know_each_other_by_their_own_addresses(self, lab: Any) -> None:
        graph = lab(uri=REMOTE)
        request = json.loads(graph.commands["certificates-host-2"].plain["stdin"])
        assert (request["address"], request["server"]) == ("10.87.3.12", "https://10.87.3.11:6443")

    def test_the_kubeconfig_is_made_to_lead_there_before_anything_uses_it_and_stays_secret(self, lab: Any) -> None:
        graph = lab(uri=REMOTE)
        step = graph.commands["api"]
        assert "stdin" in step.secret_inputs
        assert {"stdout", "stderr"} <= set(step.request.additionalSecretOutputs)
        assert step.plain["environment"]["THROUGH"] == "ssh://me@big.example:2222?keyfile=/home/me/.ssh/lab"
        assert "verify" in graph.after("api")
        assert "api" in graph.directly_after("access")
        told = json.loads(graph.commands["access"].plain["stdin"])
        assert told["kubeconfig"] == f"{SECRET} kubeconfig by loopback"
        assert graph.secret_outputs["kubeconfig"]

    def test_it_ends_before_the_hosts_do(self, lab: Any) -> None:
        graph = lab(uri=REMOTE)
        assert {"host-1", "host-2", "host-3"} <= graph.after("api")
        assert graph.deleted_with("api") is None

    def test_results_say_so_and_hosts_keep_their_own_addresses(self, lab: Any) -> None:
        told = json.loads(lab(uri=REMOTE).commands["access"].plain["stdin"])["hosts"]
        assert told["facts"]["reachedThrough"] == "big.example"
        assert [(h["address"], h["port"]) for h in told["hosts"]] == [(f"10.87.3.{10 + n}", 22) for n in (1, 2, 3)]

    def test_a_lab_on_this_machine_has_nothing_of_it(self, graph: Graph) -> None:
        assert "api" not in graph.commands
        assert not [r.name for r in graph.resources.values() if "THROUGH" in r.plain.get("environment", {})]
        told = json.loads(graph.commands["access"].plain["stdin"])["hosts"]
        assert "reachedThrough" not in told["facts"]
        assert [(h["address"], h["port"]) for h in told["hosts"]] == [(f"10.87.3.{10 + n}", 22) for n in (1, 2, 3)]
        assert not (places.PROJECT / places.run_folder(declared.STACK)).joinpath("forwards").exists()
        assert not list((places.PROJECT / places.run_folder(declared.STACK)).glob("libvirt-*/forward.py"))

    @pytest.mark.parametrize(("preview", "opened"), [(False, ["x-lab"]), (True, [])])
    def test_ways_are_opened_again_when_something_is_done_and_in_no_preview(
        self, lab: Any, monkeypatch: pytest.MonkeyPatch, preview: bool, opened: list[str]
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr("components.forwarding.component.reopen", asked.append)
        lab(uri=REMOTE, preview=preview)
        assert asked == opened
