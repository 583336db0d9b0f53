"""What a person may write into a lab's file, and what they are told when it is wrong."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components import labfile, settings
from components.labfile import load, model_for, parse
from components.settings import SettingsError
from components.steps import PROJECT

SHELL_WORD = re.compile(r"[A-Za-z0-9_.,:/+=@%-]*")
"""What a shell takes as one word and nothing else."""


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """A folder with two labs."""
    folder = tmp_path / "stacks"
    folder.mkdir()
    (folder / "upstream-lab.yaml").write_text("distribution: upstream\nworkers: 2\nhosts: {cpus: 2, memoryMib: 2048}\n")
    (folder / "small-lab.yaml").write_text("workers: 0\ncontrollerRunsWorkloads: true\n")
    return folder


def refusal(content: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(content, "stacks/x.yaml")
    return str(caught.value)


def one_paragraph(message: str) -> bool:
    return "\n" not in message and "Traceback" not in message


class TestUnknownKeys:
    def test_a_misspelt_key_is_named_with_the_nearest_right_one(self) -> None:
        message = refusal({"wrokers": 2})
        assert "unknown key wrokers." in message
        assert "Did you mean workers?" in message

    def test_a_misspelt_key_of_hosts_is_named_by_its_path(self) -> None:
        message = refusal({"hosts": {"memoryMb": 2048}})
        assert "unknown key hosts.memoryMb." in message
        assert "Did you mean memoryMib?" in message

    def test_a_key_with_a_dot_is_told_of_path(self) -> None:
        assert "pulumi config set --path litelab:hosts.cpus VALUE" in refusal({"hosts.cpus": 4})

    def test_a_workload_outside_of_the_project_is_refused(self) -> None:
        assert "a/../../b.yaml leads out of its folder" in refusal({"workloads": ["a/../../b.yaml"]})

    def test_keys_of_hosts_are_not_offered_for_keys_of_the_lab(self) -> None:
        known = refusal({"zzz": 1}).partition("Keys here: ")[2]
        assert "workloads" in known
        assert "memoryMib" not in known

    def test_a_key_that_resembles_none_gets_no_suggestion(self) -> None:
        message = refusal({"qqqqqq": 1})
        assert "Did you mean" not in message
        assert "Keys here: addons, artifacts, ca, controllerRunsWorkloads, controllers, distribution, hosts" in message

    def test_every_wrong_key_is_named_at_once(self) -> None:
        message = refusal({"wrokers": 2, "hosts": {"cpu": 2}, "repeats": 0})
        assert all(part in message for part in ("wrokers", "hosts.cpu", "repeats"))

    def test_a_key_that_is_not_text_is_refused_in_one_paragraph(self) -> None:
        assert one_paragraph(refusal({1: 2}))


class TestValues:
    @pytest.mark.parametrize(
        ("content", "path"),
        [
            ({"workers": -1}, "workers"),
            ({"workers": 101}, "workers"),
            ({"repeats": 0}, "repeats"),
            ({"hosts": {"cpus": 0}}, "hosts.cpus"),
            ({"hosts": {"memoryMib": 512}}, "hosts.memoryMib"),
            ({"workers": "many"}, "workers"),
            ({"hosts": None}, "hosts"),
            ({"hosts": {"subnet": "10.87.3.0/16"}}, "hosts.subnet"),
            ({"hosts": {"subnet": "10.87.3.7/24"}}, "hosts.subnet"),
            ({"hosts": {"subnet": "fd00::/64"}}, "hosts.subnet"),
            ({"workloads": ["--help"]}, "workloads.0"),
            ({"version": "latest"}, "version"),
        ],
    )
    def test_what_is_out_of_range_is_named_with_its_value(self, content: Any, path: str) -> None:
        message = refusal(content)
        assert f" {path}: " in message
        assert "and it is " in message
        assert message.endswith("Nothing was made.")
        assert one_paragraph(message)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ({"workers": 101}, "workers: takes a whole number from 0 to 100, and it is 101: set it to 100 or less."),
            ({"workers": -1}, "workers: takes a whole number from 0 to 100, and it is -1: set it to 0 or more."),
            ({"workers": "many"}, "workers: takes a whole number from 0 to 100, and it is 'many'."),
            ({"workers": 2.5}, "workers: takes a whole number from 0 to 100, and it is 2.5."),
            ({"workers": None}, "workers: takes a whole number from 0 to 100, and it is empty."),
            (
                {"hosts": {"memoryMib": 512}},
                "hosts.memoryMib: takes a whole number from 1024 to 1048576, and it is 512",
            ),
            ({"hosts": {"internet": "perhaps"}}, "hosts.internet: takes true or false, and it is 'perhaps'."),
            ({"hosts": 3}, "hosts: takes keys and values, and it is 3."),
            ({"hosts": {"subnet": "10.87.3.7/24"}}, "hosts.subnet: takes a /24 such as 10.87.3.0/24 (10.87.3.7/24 has"),
            ({"controllers": 2}, "controllers: takes 1 or 3, and it is 2."),
            ({"addons": "vendro"}, "addons: takes 'minimal' or 'vendor', and it is 'vendro'. Did you mean vendor?"),
            ({"minor": 1.34}, "minor: takes text such as 1.34, and it is 1.34: put it in quotes."),
            ({"version": "latest"}, "version: takes text such as 1.34.4, and it is 'latest'."),
            ({"workloads": "pods-8"}, "workloads: takes a list, and it is 'pods-8': write [pods-8]."),
            ({"artifacts": {"A": "x"}}, "artifacts: takes names of the form ^[a-z0-9][a-z0-9-]*$, and one is 'A'."),
            (
                {"artifacts": {"a": {"source": "x", "sha256": "1"}}},
                "a.sha256: takes text of the form ^[0-9a-f]{64}$, and",
            ),
            (
                {"registries": {"docker.io": {"mirrors": []}}},
                "registries.docker.io.mirrors: takes at least 1, and it is",
            ),
            ({"hosts": {"kind": "libvirt", "diskGib": 1}}, "hosts.diskGib: takes a whole number from 2 to 16384, and"),
        ],
    )
    def test_what_a_key_takes_is_told_in_plain_words(self, content: Any, told: str) -> None:
        message = refusal(content)
        assert told in message
        assert "nput should" not in message
        assert one_paragraph(message)

    def test_a_list_whose_entry_is_refused_is_not_called_too_short_as_well(self) -> None:
        message = refusal({"registries": {"docker.io": {"mirrors": ["ftp://x"]}}})
        assert "mirrors.0: takes text such as https://mirror.example:5000, and it is 'ftp://x'." in message
        assert "at least" not in message

    @pytest.mark.parametrize("twice", [["pods-8", "pods-8"], ["my/pods.yaml", "pods-8", "my-pods.yaml"]])
    def test_workloads_that_would_share_a_step_are_refused(self, twice: list[str]) -> None:
        message = refusal({"workloads": twice})
        assert "workloads: " in message
        assert twice[0] in message

    def test_no_host_that_runs_a_pod_is_refused(self) -> None:
        assert "workers is 0 and controllerRunsWorkloads is false" in refusal({"workers": 0})

    def test_a_controller_that_runs_workloads_needs_no_worker(self) -> None:
        lab = parse({"workers": 0, "controllerRunsWorkloads": True}, "x")
        assert (lab.workers, lab.controller_runs_workloads) == (0, True)

    @pytest.mark.parametrize(
        ("content", "nearest"),
        [({"distribution": "upstraem"}, "upstream"), ({"hosts": {"kind": "nspwan"}}, "nspawn")],
    )
    def test_an_unknown_distribution_or_kind_gets_the_nearest_known(self, content: Any, nearest: str) -> None:
        message = refusal(content)
        assert ": takes one of " in message
        assert f"Did you mean {nearest}?" in message

    def test_the_source_of_a_wrong_value_is_named_first(self) -> None:
        assert refusal({"workers": -1}).startswith("stacks/x.yaml: ")

    def test_settings_do_not_change_once_read(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            parse({}, "x").workers = 3


class TestLabFiles:
    def test_a_stack_takes_the_lab_of_its_own_name(self, stacks: Path) -> None:
        assert load(stacks, "small-lab", "", {}).workers == 0

    def test_a_stack_can_take_another_lab(self, stacks: Path) -> None:
        assert load(stacks, "pr-123", "small-lab", {}).workers == 0

    def test_an_unknown_lab_is_named_with_the_nearest_and_all_there_are(self, stacks: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            load(stacks, "upstraem-lab", "", {})
        message = str(caught.value)
        assert "Did you mean upstream-lab?" in message
        assert "Labs: small-lab, upstream-lab." in message
        assert one_paragraph(message)

    @pytest.mark.parametrize("lab", ["../secret", "/etc/passwd", "upstream-lab.yaml", ".."])
    def test_a_lab_is_never_a_path(self, stacks: Path, lab: str) -> None:
        (stacks.parent / "secret.yaml").write_text("workers: 1\n")
        with pytest.raises(SettingsError, match="there is no lab"):
            load(stacks, "upstream-lab", lab, {})

    @pytest.mark.parametrize("text", ["workers: [1\n", "a: b: c\n", "\tworkers: 1\n", "x: &a *b\n"])
    def test_a_broken_file_is_one_paragraph_with_the_place(self, stacks: Path, text: str) -> None:
        (stacks / "upstream-lab.yaml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            load(stacks, "upstream-lab", "", {})
        message = str(caught.value)
        assert message.startswith("stacks/upstream-lab.yaml is not YAML: ")
        assert "line 1" in message
        assert one_paragraph(message)

    def test_a_file_that_is_a_list_is_refused(self, stacks: Path) -> None:
        (stacks / "upstream-lab.yaml").write_text("- workers\n")
        with pytest.raises(SettingsError, match="holds a list"):
            load(stacks, "upstream-lab", "", {})

    def test_an_empty_file_is_the_default_lab(self, stacks: Path) -> None:
        (stacks / "upstream-lab.yaml").write_text("# nothing\n")
        assert load(stacks, "upstream-lab", "", {}) == parse({}, "x")

    @pytest.mark.parametrize("path", sorted((PROJECT / "stacks").glob("*.yaml")), ids=lambda p: p.stem)
    def test_every_committed_lab_loads(self, path: Path) -> None:
        assert load(path.parent, path.stem, "", {}).distribution == yaml.safe_load(path.read_text())["distribution"]


class TestSite:
    """What all labs of a checkout share."""

    def test_it_is_under_the_labs_own_file(self, stacks: Path) -> None:
        site = stacks.parent / "site.yaml"
        site.write_text("proxy: http://proxy.example:3128\nregistries: {'*': 'https://cache.example'}\n")
        assert load(stacks, "upstream-lab", "", {}, site).proxy == "http://proxy.example:3128"
        (stacks / "upstream-lab.yaml").write_text("registries: {docker.io: 'https://mine.example'}\nproxy: null\n")
        lab = load(stacks, "upstream-lab", "", {}, site)
        assert lab.proxy is None
        assert {name: r.mirrors for name, r in lab.registries.items()} == {
            "*": ("https://cache.example",),
            "docker.io": ("https://mine.example",),
        }

    def test_nothing_but_what_belongs_to_a_place_can_be_shared(self, stacks: Path) -> None:
        (stacks.parent / "site.yaml").write_text("workers: 7\n")
        with pytest.raises(SettingsError, match="workers can't be shared by all labs; it takes proxy, noProxy"):
            load(stacks, "upstream-lab", "", {}, stacks.parent / "site.yaml")

    def test_a_wrong_value_names_the_file_for_all_labs_too(self, stacks: Path) -> None:
        site = stacks.parent / "site.yaml"
        site.write_text("proxy: http://me:secret@proxy.example\n")
        with pytest.raises(SettingsError, match=r"site\.yaml\): proxy: "):
            load(stacks, "upstream-lab", "", {}, site)

    def test_no_such_file_is_nothing_shared(self, stacks: Path) -> None:
        assert load(stacks, "upstream-lab", "", {}, stacks / "none.yaml").proxy is None


class TestOverrides:
    def test_an_override_wins_over_the_file(self, stacks: Path) -> None:
        assert load(stacks, "upstream-lab", "", {"workers": 5}).workers == 5

    def test_an_override_of_one_nested_value_leaves_its_neighbours(self, stacks: Path) -> None:
        hosts = load(stacks, "upstream-lab", "", {"hosts": {"cpus": 7}}).hosts
        assert (hosts.cpus, hosts.memory_mib) == (7, 2048)

    def test_an_override_is_checked_like_the_file_and_says_where_it_is_from(self, stacks: Path) -> None:
        with pytest.raises(SettingsError, match=r"configuration of stack upstream-lab\): unknown key hosts\.cpsu\."):
            load(stacks, "upstream-lab", "", {"hosts": {"cpsu": 7}})

    def test_hosts_of_another_kind_leave_out_what_only_the_files_kind_knows(self, stacks: Path) -> None:
        (stacks / "vm-lab.yaml").write_text("hosts: {kind: libvirt, image: debian, size: small}\nworkers: 1\n")
        hosts = load(stacks, "vm-lab", "", {"hosts": {"kind": "nspawn", "memoryMib": 1536}}).hosts
        assert (hosts.kind, hosts.memory_mib) == ("nspawn", 1536)

    def test_a_key_that_no_kind_knows_is_refused_on_another_kind_too(self, stacks: Path) -> None:
        (stacks / "vm-lab.yaml").write_text("hosts: {kind: libvirt, imgae: debian}\n")
        with pytest.raises(SettingsError, match=r"unknown key hosts\.imgae\."):
            load(stacks, "vm-lab", "", {"hosts": {"kind": "nspawn"}})

    def test_the_file_is_not_changed_by_an_override(self, stacks: Path) -> None:
        before = (stacks / "upstream-lab.yaml").read_text()
        load(stacks, "upstream-lab", "", {"workers": 5})
        assert (stacks / "upstream-lab.yaml").read_text() == before

    @pytest.mark.parametrize(
        ("text", "value"), [("3", 3), ("true", True), ("[pods-8]", ["pods-8"]), ('{"cpus":4}', {"cpus": 4}), ("", "")]
    )
    def test_pulumis_text_is_typed_as_yaml_would(self, text: str, value: object) -> None:
        assert labfile.typed("workers", text) == value

    @pytest.mark.parametrize("text", ["[pods-8", "a: b: c", "\t- x", "*x"])
    def test_a_value_that_is_no_yaml_is_refused_by_its_key(self, text: str) -> None:
        with pytest.raises(SettingsError, match=r"^litelab:workloads: ") as caught:
            labfile.typed("workloads", text)
        assert one_paragraph(str(caught.value))


# Strings that a careless shell line, file name, sed or ssh would take for something else.
DANGERS = [
    "$(id)",
    "`id`",
    "a;b",
    "a|b",
    "a&b",
    "a b",
    "a\nb",
    "a'b",
    'a"b',
    "a\\b",
    "a>b",
    "~",
    "*",
    "?",
    "-x",
    "a\0b",
]
HOSTILE = st.one_of(
    st.sampled_from(DANGERS),
    st.text(max_size=20),
    st.tuples(st.sampled_from(["pods-8", "upstream", "nspawn", "v1.34.4", "10.87.3.0/24", "2"]), st.sampled_from(DANGERS))
    .map("".join),
    st.tuples(st.sampled_from(["v1.34.4+", "a/", "1.2.3-"]), st.text(max_size=8)).map("".join),
)  # fmt: skip


def words(value: object) -> Iterator[str]:
    """Every text in settings that were accepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from words(part)
    elif isinstance(value, list):
        for part in value:
            yield from words(part)


class TestHostileValues:
    @given(value=HOSTILE)
    @pytest.mark.parametrize(
        "path",
        [
            "distribution",
            "version",
            "minor",
            "addons",
            "proxy",
            "noProxy.0",
            "ca",
            "workers",
            "workloads.0",
            "repeats",
            "hosts.kind",
            "hosts.cpus",
            "hosts.memoryMib",
            "hosts.subnet",
        ],
    )
    def test_no_setting_reaches_a_step_as_more_than_a_plain_word(self, path: str, value: str) -> None:
        first, _, second = path.partition(".")
        content: dict[str, object] = {first: ([value] if second == "0" else {second: value}) if second else value}
        lab, refused = None, ""
        try:
            lab = parse(content, "x")
        except SettingsError as error:
            refused = str(error)
        if lab is None:
            assert refused.endswith("Nothing was made.")
            return
        for word in words(json.loads(lab.model_dump_json())):
            assert SHELL_WORD.fullmatch(word), word
            assert not word.startswith("-")

    @given(value=HOSTILE)
    @pytest.mark.parametrize("key", ["source", "sha256", "as"])
    def test_no_artifact_or_image_reaches_a_step_as_more_than_a_plain_word(self, key: str, value: str) -> None:
        content = {"source": "a.tar", key: value}
        try:
            read = settings.Image.model_validate(content)
        except ValueError:
            return
        for word in words(json.loads(read.model_dump_json())):
            assert SHELL_WORD.fullmatch(word), word
            assert not word.startswith("-")

    @given(value=st.one_of(HOSTILE, st.tuples(st.sampled_from(["https://m:5000", "docker.io"]), HOSTILE).map("".join)))
    @pytest.mark.parametrize("is_key", [True, False])
    def test_no_registry_or_mirror_becomes_more_than_a_plain_word(self, is_key: bool, value: str) -> None:
        content = {value: "https://m.example:5000"} if is_key else {"docker.io": value}
        try:
            lab = parse({"registries": content}, "x")
        except SettingsError:
            return
        for name, registry in lab.registries.items():
            assert name == "*" or SHELL_WORD.fullmatch(name)
            assert "/" not in name
            assert ".." not in name.split("/")
            assert all(SHELL_WORD.fullmatch(mirror) for mirror in registry.mirrors)

    def test_the_list_of_text_settings_is_whole(self) -> None:
        """A new setting that is text must be added to the property above."""
        schema = model_for("upstream", "nspawn").model_json_schema()
        texts = set()
        for prefix, model in (("", schema), ("hosts.", schema["$defs"]["NspawnSettings"])):
            for name, field in model["properties"].items():
                shown = json.dumps(field)
                if '"string"' in shown:
                    texts.add(f"{prefix}{name}" + (".0" if '"array"' in shown else ""))
        # Artifacts, images and registries are held to their patterns apart.
        assert texts - {"hosts.kind", "distribution", "artifacts"} == {
            "version",
            "minor",
            "addons",
            "proxy",
            "noProxy.0",
            "ca",
            "hosts.subnet",
            "workloads.0",
        }

    @given(stack=HOSTILE)
    def test_a_stack_name_that_is_no_plain_word_is_refused(self, stack: str) -> None:
        if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", stack):
            return
        with pytest.raises(SettingsError, match="small letters, digits and hyphens"):
            load(PROJECT / "stacks", stack, "upstream-lab", {})

    @given(subnet=st.ip_addresses(v=4))
    def test_a_subnet_that_is_accepted_is_a_slash_24(self, subnet: ipaddress.IPv4Address) -> None:
        network = ipaddress.ip_network(f"{subnet}/24", strict=False)
        assert parse({"hosts": {"subnet": str(network)}}, "x").hosts.model_dump()["subnet"] == str(network)


class TestAnotherKindOfHosts:
    """A stack moves any lab to another kind by ``hosts.kind`` alone."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "x-lab.yaml").write_text("hosts: {kind: libvirt, image: ubuntu-24.04, memoryMib: 3072}\n")
        return tmp_path

    def test_what_only_the_files_kind_has_is_left_out_and_the_rest_stays(self, folder: Path) -> None:
        lab = load(folder, "x-lab", "", {"hosts": {"kind": "nspawn"}})
        assert (lab.hosts.kind, lab.hosts.memory_mib) == ("nspawn", 3072)

    def test_its_own_kind_keeps_all(self, folder: Path) -> None:
        lab = load(folder, "x-lab", "", {"hosts": {"kind": "libvirt"}})
        assert lab.hosts.model_dump(by_alias=True)["image"]["name"] == "ubuntu-24.04"

    def test_a_misspelt_key_is_still_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x-lab.yaml").write_text("hosts: {kind: libvirt, imagge: ubuntu-24.04}\n")
        with pytest.raises(SettingsError, match=r"unknown key hosts\.imagge"):
            load(tmp_path, "x-lab", "", {"hosts": {"kind": "nspawn"}})

    def test_a_key_of_another_kind_in_the_override_is_refused(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match=r"unknown key hosts\.image"):
            load(folder, "x-lab", "", {"hosts": {"kind": "nspawn", "image": "ubuntu-24.04"}})
