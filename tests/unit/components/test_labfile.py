"""Lab files: which one a stack takes, what overrides it, and what of it is told when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.config import discovery
from components.config.lab_file import load
from components.config.layers import Configured
from components.config.settings import DEFAULT_MINOR, SettingsError
from components.places import PROJECT

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdNAFH4cOKsWvEb5rCA9ZEJ9rG5cAMbJvVUDQ4Lc5RG"


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """A folder with two labs."""
    folder = tmp_path / "stacks"
    folder.mkdir()
    (folder / "upstream-lab.yaml").write_text("distribution: upstream\nworkers: 2\nhosts: {cpus: 2, memoryMib: 2048}\n")
    (folder / "small-lab.yaml").write_text("workers: 0\ncontrollerRunsWorkloads: true\n")
    return folder


def one_paragraph(message: str) -> bool:
    return "\n" not in message and "Traceback" not in message


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
        assert message.startswith("stacks/upstream-lab.yaml:1: is not YAML: ")
        assert one_paragraph(message)

    def test_a_file_that_is_a_list_is_refused(self, stacks: Path) -> None:
        (stacks / "upstream-lab.yaml").write_text("- workers\n")
        with pytest.raises(SettingsError, match="holds a list"):
            load(stacks, "upstream-lab", "", {})

    @pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
    def test_an_empty_file_is_no_lab(self, stacks: Path, text: str) -> None:
        """What is left of a file about a user's machines must not be the default lab on this one."""
        (stacks / "upstream-lab.yaml").write_text(text)
        with pytest.raises(SettingsError, match=r"stacks/upstream-lab.yaml: is empty, and a lab is a mapping such as"):
            load(stacks, "upstream-lab", "", {})

    @pytest.mark.parametrize("path", sorted((PROJECT / "stacks").glob("*.yaml")), ids=lambda p: p.stem)
    def test_every_committed_lab_loads(self, path: Path) -> None:
        assert load(path.parent, path.stem, "", {}).distribution == yaml.safe_load(path.read_text())["distribution"]


class TestLines:
    """Every refusal leads to the line that a person has to change."""

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("workers: 2\nwrokers: 3\n", "stacks/x.yaml:2: unknown key wrokers. Did you mean workers?"),
            ("hosts:\n  cpus: 2\n  cpsu: 3\n", "stacks/x.yaml:3: unknown key hosts.cpsu. Did you mean cpus?"),
            ("# a\nminor: 1.30\n", f"x.yaml:2: minor: takes text such as {DEFAULT_MINOR}, and it is 1.30, which YAML reads as 1.3: put it in quotes: '1.30'"),
            ("minor: 1.34\n", f"x.yaml:1: minor: takes text such as {DEFAULT_MINOR}, and it is 1.34: put it in quotes: '1.34'"),
            ("ca: no\n", "x.yaml:1: ca: takes text such as /etc/ssl/mine.pem, and it is no, which YAML reads as false: put it in quotes: 'no'"),
            ("addons: off\n", "x.yaml:1: addons: takes 'minimal' or 'vendor', and it is off, which YAML reads as false"),
            ("workers: yes\n", "x.yaml:1: workers: takes a whole number from 0 to 100, and it is yes, which YAML reads as true"),
            ("controllers: true\n", "x.yaml:1: controllers: takes 1 or 3, and it is true"),
            ("workers:\n", "x.yaml:1: workers: takes a whole number from 0 to 100, and it is empty"),
            ("hosts:\n", "x.yaml:1: hosts: takes keys and values, and it is empty"),
            ("\nworkers: 0\n", "x.yaml:2: workers is 0 and controllerRunsWorkloads is false"),
            ("noProxy:\n  - .a\n  - 1.30\n", "x.yaml:3: noProxy.1: takes text such as .example, and it is 1.30"),
            ("workloads:\n- pods-8\n- a/../../b\n", "x.yaml:1: workloads: a/../../b leads out of its folder"),
            ("distribution: 1.0\n", f"x.yaml:1: distribution: takes one of {', '.join(discovery.distributions())}, and it is 1.0"),
            ("hosts:\n  kind: nspwan\n", "x.yaml:2: hosts.kind: takes one of existing, libvirt, nspawn, and it is 'nspwan'. Did you mean nspawn?"),
            ("distribution: k0s\nminor: '1.9'\n", "x.yaml:2: minor is 1.9, and components/catalog/distributions.toml has k0s for"),
            ("hosts: {kind: libvirt,\n image: ubunut}\n", "x.yaml:2: hosts.image.name: takes debian, centos-stream-9, ubuntu-24.04, and not 'ubunut'"),
            ("hosts:\n  kind: existing\n", "x.yaml:1: hosts.addresses: is missing (The hosts, controllers first"),
            (
                "hosts:\n  kind: existing\n  addresses:\n  - a\n  - 'b c'\n  key: /k\n  hostKeys: [x]\n",
                ("x.yaml:5: hosts.addresses.1.address: takes an IPv4 address or a name, with :port unless it is 22, and not 'b c'; "
                "stacks/x.yaml:7: hosts.hostKeys: takes lines of known_hosts"),
            ),
            ("repeats: 101\nworkers: 200\n", "x.yaml:2: workers: takes a whole number from 0 to 100, and it is 200: set it to 100 or less; stacks/x.yaml:1:"),
        ],
    )  # fmt: skip
    def test_a_refusal_has_file_line_and_key(self, stacks: Path, text: str, told: str) -> None:
        (stacks / "x.yaml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            load(stacks, "x", "", {})
        message = str(caught.value)
        assert told in message
        assert message.startswith("stacks/x.yaml:")
        assert message.endswith("Nothing was made.")
        assert one_paragraph(message)

    def test_lines_of_the_file_for_all_labs_are_its_own(self, stacks: Path) -> None:
        (stacks / "x.yaml").write_text("workers: 2\n")
        site = stacks.parent / "site.yaml"
        site.write_text("# a\nproxy: http://proxy.example:3128\nnoProxy: .example\n")
        with pytest.raises(SettingsError, match=r"/site\.yaml:3: noProxy: takes a list, and it is '\.example': write"):
            load(stacks, "x", "", {}, site)


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

    def test_where_pulumis_state_is_changes_no_lab(self, stacks: Path) -> None:
        site = stacks.parent / "site.yaml"
        site.write_text("backend: s3://bucket\npassphraseFile: /mine\n")
        assert load(stacks, "upstream-lab", "", {}, site) == load(stacks, "upstream-lab", "", {})

    def test_a_wrong_value_names_the_file_for_all_labs_too(self, stacks: Path) -> None:
        site = stacks.parent / "site.yaml"
        site.write_text("proxy: proxy.example:3128\n")
        with pytest.raises(SettingsError, match=r"site\.yaml:1: proxy: takes text .* it is 'proxy\.example:3128'"):
            load(stacks, "upstream-lab", "", {}, site)

    def test_where_pulumi_keeps_its_state_is_no_setting_of_a_lab(self, stacks: Path) -> None:
        site = stacks.parent / "site.yaml"
        site.write_text("backend: s3://b\npassphraseFile: /p\nproxy: http://proxy.example:3128\n")
        assert load(stacks, "upstream-lab", "", {}, site).proxy == "http://proxy.example:3128"

    def test_no_such_file_is_nothing_shared(self, stacks: Path) -> None:
        assert load(stacks, "upstream-lab", "", {}, stacks / "none.yaml").proxy is None


class TestOverrides:
    def test_an_override_wins_over_the_file(self, stacks: Path) -> None:
        assert load(stacks, "upstream-lab", "", {"workers": 5}).workers == 5

    def test_an_override_of_one_nested_value_leaves_its_neighbours(self, stacks: Path) -> None:
        hosts = load(stacks, "upstream-lab", "", {"hosts": {"cpus": 7}}).hosts
        assert (hosts.cpus, hosts.memory_mib) == (7, 2048)

    def test_an_override_is_checked_like_the_file_and_says_where_it_is_from(self, stacks: Path) -> None:
        with pytest.raises(SettingsError, match=r"configuration of stack upstream-lab: unknown key hosts\.cpsu\."):
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
        ("key", "text", "found"),
        [
            ("workers", "3", ("workers", 3)),
            ("workers", " 3 ", ("workers", 3)),
            ("controllerRunsWorkloads", "true", ("controller_runs_workloads", True)),
            ("controllerRunsWorkloads", "yes", ("controller_runs_workloads", True)),
            ("controllers", "3", ("controllers", 3)),
            ("workloads", "[pods-8]", ("workloads", ("pods-8",))),
            ("workloads", '["pods-8"]', ("workloads", ("pods-8",))),
            ("noProxy", "[1.30, no, 010, 2024-01-01]", ("no_proxy", ("1.30", "no", "010", "2024-01-01"))),
            ("ca", "no", ("ca", "no")),
            ("ca", "0755", ("ca", "0755")),
            ("proxy", "null", ("proxy", None)),
            ("version", "", ("version", None)),
        ],
    )
    def test_a_configured_value_is_text_where_text_is_taken(
        self, stacks: Path, key: str, text: str, found: tuple[str, object]
    ) -> None:
        assert getattr(load(stacks, "upstream-lab", "", {key: text}), found[0]) == found[1]

    @pytest.mark.parametrize("minor", ["1.34", "1.35"])
    def test_a_minor_needs_no_quotes_that_a_shell_takes_off(self, stacks: Path, minor: str) -> None:
        assert load(stacks, "upstream-lab", "", {"minor": minor, "distribution": "k0s"}).minor == minor

    @pytest.mark.parametrize("text", ["2.30", "no", "010", "22:22", "2024-01-01", "1e3", "~user", "a: b"])
    def test_text_is_taken_as_typed_and_shown_so(self, stacks: Path, text: str) -> None:
        with pytest.raises(SettingsError, match=r"configuration of stack upstream-lab: minor: takes text") as caught:
            load(stacks, "upstream-lab", "", {"minor": text})
        assert f"and it is '{text}'" in str(caught.value)
        assert "quotes" not in str(caught.value)

    def test_what_path_made_is_typed_by_the_setting_too(self, stacks: Path) -> None:
        # pulumi config set --path makes 123 of what is to be text, and text of what is to be true.
        over = {"hosts": '{"cpus":"4","internet":"yes"}', "registries": '{"docker.io":"https://m.example"}'}
        lab = load(stacks, "upstream-lab", "", over)
        assert (lab.hosts.cpus, lab.hosts.internet) == (4, True)
        (stacks / "mine.yaml").write_text(
            "hosts: {kind: existing, addresses: [a], key: /k, hostKeys: ['@cert-authority * "
            + KEY
            + "']}\nworkers: 0\n"
            "controllerRunsWorkloads: true\n"
        )
        hosts = load(stacks, "mine", "", {"hosts": {"addresses": ["b", 12]}, "workers": "1"}).hosts.model_dump()
        assert [host["address"] for host in hosts["addresses"]] == ["b", "12"]

    @pytest.mark.parametrize("text", ["[pods-8", "a: b: c", "\t- x", "*x", "[a, *x]"])
    def test_a_list_that_is_no_yaml_is_refused_by_its_key_with_the_command(self, stacks: Path, text: str) -> None:
        with pytest.raises(
            SettingsError, match=r"^configuration of stack upstream-lab: litelab:workloads: is not YAML"
        ) as caught:
            load(stacks, "upstream-lab", "", {"workloads": text})
        assert "'pulumi config set --stack upstream-lab --path litelab:workloads VALUE'" in str(caught.value)
        assert one_paragraph(str(caught.value))

    @pytest.mark.parametrize(
        ("text", "told"), [("010", "is 010, which YAML reads as the number 8"), ("x", "it is 'x'")]
    )
    def test_a_number_that_is_none_is_refused_by_its_key(self, stacks: Path, text: str, told: str) -> None:
        with pytest.raises(SettingsError, match=r"configuration of stack upstream-lab: .*workers") as caught:
            load(stacks, "upstream-lab", "", {"workers": text})
        assert told in str(caught.value)

    @pytest.mark.parametrize("key", ["proxy", "workers", "workloads", "nosuch"])
    def test_a_secret_is_never_shown(self, stacks: Path, key: str) -> None:
        with pytest.raises(SettingsError) as caught:
            load(stacks, "upstream-lab", "", {key: Configured("THE-SECRET: [", secret=True)})
        assert "THE-SECRET" not in str(caught.value)


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
