"""What a person may write into a lab's file, and what they are told when it is wrong."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import settings
from components.config.lab_file import load, model_for, parse
from components.config.settings import SettingsError
from components.places import PROJECT

SHELL_WORD = re.compile(r"[A-Za-z0-9_.,:/+=@%-]*")
"""What a shell takes as one word and nothing else."""


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
            ({"minor": 1.34}, "minor: takes text such as 1.35, and it is 1.34: put it in quotes."),
            ({"version": "latest"}, "version: takes text such as 1.35.4, and it is 'latest'."),
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

    @pytest.mark.parametrize(
        "address", ["https://me:canary@m.example", "https://me:can/ary@m.example/hub", "me:canary@m.example:3128"]
    )
    def test_an_address_with_a_login_is_refused_with_the_fix_and_not_shown(self, address: str) -> None:
        message = refusal({"registries": {"docker.io": {"mirrors": ["https://a.example", address]}}})
        assert "registries.docker.io.mirrors.1: holds a login (USER:PASSWORD@): take it out of the address" in message
        assert "registriesAuth" in message
        proxy = refusal({"proxy": address})
        assert "proxy: holds a login (USER:PASSWORD@): it would stand in every unit's environment" in proxy
        for told in (message, proxy):
            assert "can" not in told.replace("can't", "")

    @pytest.mark.parametrize(
        ("content", "place"),
        [
            ({"artifacts": {"k0s": "https://me:canary@files.example/k0s"}}, "artifacts.k0s.source"),
            ({"images": [{"source": "https://canary@files.example/pause.tar"}]}, "images.0.source"),
            (
                {"hosts": {"kind": "libvirt", "image": {"source": "https://me:canary@x/y.qcow2", "sha256": "0" * 64}}},
                "hosts.image.source",
            ),
        ],
    )
    def test_a_download_with_a_login_is_refused_and_not_shown(self, content: Any, place: str) -> None:
        message = refusal(content)
        assert f"{place}: holds a login (USER:PASSWORD@): it would stand in the state" in message
        assert "canary" not in message

    def test_a_path_may_have_the_sign_of_a_login(self) -> None:
        given = {"distribution": "k0s", "artifacts": {"k0s": "files/k0s@1.35"}}
        assert parse(given, "x").artifacts["k0s"].source == "files/k0s@1.35"

    def test_logins_without_mirrors_are_refused(self) -> None:
        message = refusal({"registriesAuth": "~/.docker/config.json"})
        assert "registriesAuth has the logins of mirrors, and registries names no mirror" in message

    def test_logins_beside_red_hats_pull_secret_are_refused_with_where_they_go(self) -> None:
        lab = {"distribution": "microshift", "flavour": "rhel", "registries": {"docker.io": "https://m"}}
        message = refusal({**lab, "registriesAuth": "a.json"})
        assert "add the mirrors' logins to the secret microshift:pullSecret" in message

    @pytest.mark.parametrize(
        "address", ["https://m/../x", "https://m//x", "https://m/x?y", "https://m/x y", "https://m/%2e", "https://m/.x"]
    )
    def test_a_path_of_a_mirror_holds_plain_words_alone(self, address: str) -> None:
        assert "mirrors.0: takes text such as https://mirror.example:5000" in refusal({"registries": {"a": address}})

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
        # Artifacts, images and registries are held to their patterns apart; the file of logins is read here alone.
        assert texts - {"hosts.kind", "distribution", "artifacts", "registriesAuth"} == {
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

    @given(subnet=st.ip_addresses(v=4, network="172.16.0.0/12"))
    def test_a_subnet_that_is_accepted_is_a_slash_24(self, subnet: ipaddress.IPv4Address) -> None:
        network = ipaddress.ip_network(f"{subnet}/24", strict=False)
        assert parse({"hosts": {"subnet": str(network)}}, "x").hosts.model_dump()["subnet"] == str(network)
