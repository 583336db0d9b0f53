"""Lab files, the file for all labs and Pulumi configuration: settings, or one paragraph with where and why."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from components.clusters.k3s.mirrors import FILE, registries_yaml
from components.clusters.microshift.mirrors import crio
from components.config import discovery
from components.config.lab_file import load, parse
from components.config.layers import Configured
from components.config.settings import LabSettings, Registry, SettingsError
from components.hosts.existing.known_hosts import parse_address, parse_known_key
from components.places import PROJECT
from components.site import logins
from components.site.mirrors import containerd, mirror_of
from inputs.errors import InputError
from inputs.tomlfile import parse_toml
from tests.fuzz.texts import NASTY, VALUES, WORDS, edited, files, one_paragraph

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdNAFH4cOKsWvEb5rCA9ZEJ9rG5cAMbJvVUDQ4Lc5RG"
RICH = f"""\
distribution: k0s
version: v1.34.10+k0s.0
minor: "1.34"
addons: vendor
artifacts: {{k0s: {{source: files/k0s, sha256: {"ab" * 32}}}}}
images: [{{source: a.tar, as: "litelab/pause:1"}}]
proxy: http://proxy.example:3128
noProxy: [.example, 192.0.2.0/24]
registries:
  docker.io: https://mirror.example:5000
  quay.io: https://harbor.example/v2/quay-proxy
  "*": {{mirrors: [https://a.example]}}
registriesAuth: ~/.docker/config.json
hosts:
  kind: existing
  addresses: [10.0.0.1, "10.0.0.2:2222"]
  user: ubuntu
  key: ~/.ssh/id_ed25519
  hostKeys:
    - "@cert-authority * {KEY}"
controllers: 1
workers: 1
workloads: [pods-8, my/pods.yaml]
repeats: 5
"""
LABS = [RICH, *(p.read_text(encoding="utf-8") for p in sorted((PROJECT / "stacks").glob("*.yaml")))]
SITE = "proxy: http://proxy.example:3128\nnoProxy: [.example]\nca: site/ca.pem\nregistries: {docker.io: https://m.example/hub}\nregistriesAuth: a.json\nbackend: s3://b\n"
KEYS = sorted(
    {
        f.alias or n
        for d in discovery.distributions()
        for n, f in discovery.distribution(d).settings.model_fields.items()
    }
)


WORD = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10).filter(
    lambda word: word != "null"
)
"""Without the one that unsets a setting in the configuration of a stack."""
MIRRORS = st.tuples(WORD, st.lists(st.one_of(WORD, st.just("v2")), max_size=3), st.sampled_from(["", "/"])).map(
    lambda parts: f"https://{'/'.join([parts[0], *parts[1]])}{parts[2]}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labs") / "stacks"
    folder.mkdir()
    return folder


def read(folder: Path, lab: bytes, over: dict[str, Any] | None = None, site: bytes | None = None) -> LabSettings | None:
    (folder / "x-lab.yaml").write_bytes(lab)
    (folder / "site.yaml").write_bytes(site or b"")
    try:
        return load(folder, "x-lab", "", over or {}, folder / "site.yaml" if site is not None else None)
    except SettingsError as error:
        message = str(error)
        assert one_paragraph(message), message
        assert message.endswith("Nothing was made."), message
        assert message.startswith(("stacks/x-lab.yaml", "stacks/site.yaml", "configuration of stack x-lab")), message
        return None


@given(content=files(LABS))
def test_a_lab_file_of_any_bytes(folder: Path, content: bytes) -> None:
    read(folder, content)


@given(content=files([SITE]))
def test_a_file_for_all_labs_of_any_bytes(folder: Path, content: bytes) -> None:
    read(folder, b"", site=content)


@given(
    key=st.sampled_from([*KEYS, "hosts.cpus", "nosuch", ""]),
    text=st.one_of(WORDS, edited(LABS), VALUES.map(json.dumps)),
)
@example(key="workers", text="9" * 5000)
def test_a_configured_value_of_any_text(folder: Path, key: str, text: str) -> None:
    for lab in (b"", RICH.encode()):
        read(folder, lab, {key: text})


@given(text=st.text(alphabet="ABCDEFGHSECRET0123456789", min_size=12, max_size=30), key=st.sampled_from(KEYS))
def test_a_secret_is_never_shown(folder: Path, key: str, text: str) -> None:
    (folder / "x-lab.yaml").write_text("")
    try:
        load(folder, "x-lab", "", {key: Configured(text, secret=True)})
    except SettingsError as error:
        assert text not in str(error)  # noqa: PT017


@given(
    password=st.text(alphabet="CANARY0123456789/@:", min_size=6, max_size=20).filter(
        lambda text: len(text.strip("/@:")) > 5
    ),
    before=st.sampled_from(["https://me:", "http://me:", "https://", "me:", "HTTPS://me:"]),
)
def test_a_password_in_an_address_is_never_shown(password: str, before: str) -> None:
    address = f"{before}{password}@m.example/hub"
    for content in ({"proxy": address}, {"registries": {"docker.io": address}}):
        with pytest.raises(SettingsError) as caught:
            parse(content, "x")
        assert not any(part in str(caught.value) for part in re.split("[/@:]", password) if len(part) > 2)


LOGINS = '{"auths": {"m.example": {"auth": "bWU6Y2FuYXJ5"}, "https://n.example/v1/": {}}, "credHelpers": {"o": "x"}}'


@given(content=files([LOGINS]))
def test_a_file_of_logins_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_bytes(content)
    try:
        found = logins.read(str(path), ["m.example", "n.example", "o"])
    except InputError as error:
        assert one_paragraph(str(error)), error  # noqa: PT017
        assert str(error).startswith(str(path))  # noqa: PT017
        return
    assert all(re.fullmatch(r"[A-Za-z0-9+/=]+", login) for login in found.values())


@given(address=MIRRORS)
def test_every_mirror_has_one_api_which_each_runtime_asks(address: str) -> None:
    mirror = mirror_of(address)
    assert mirror_of(mirror.address) == mirror
    assert "v2" in mirror.path.split("/") or not mirror.path
    registries = {"docker.io": Registry.model_validate(address)}
    (hosts,) = containerd(registries, False, {}).values()
    assert list(tomllib.loads(hosts)["host"]) == [mirror.address]
    assert json.loads(registries_yaml(registries, False, {})[FILE])["mirrors"]["docker.io"]["endpoint"] == [
        mirror.address
    ]
    if mirror.path.startswith("/v2/") or not mirror.path:
        (text,) = crio(registries, False, {}).values()
        (told,) = tomllib.loads(text)["registry"][0]["mirror"]
        assert told["location"] == mirror.host + mirror.path.removeprefix("/v2")


@given(content=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
def test_settings_of_any_values(content: dict[str, Any]) -> None:
    try:
        parse(content, "x")
    except SettingsError as error:
        message = str(error)
        assert one_paragraph(message), message


ANY = st.fixed_dictionaries(
    {},
    optional={
        "distribution": st.sampled_from(["k0s", "k3s"]),
        "addons": st.sampled_from(["minimal", "vendor"]),
        "noProxy": st.lists(
            st.one_of(WORD, st.sampled_from(["1.30", "no", "010", "22", "2024-01-01", "1e5"])), max_size=3
        ),
        "ca": st.one_of(WORD, st.sampled_from(["no", "on", "0755", "1.30", "null.pem"])),
        "proxy": WORD.map(lambda word: f"http://{word}:3128"),
        "workers": st.integers(1, 100),
        "controllerRunsWorkloads": st.booleans(),
        "workloads": st.lists(WORD, max_size=3, unique=True),
        "repeats": st.integers(1, 100),
        "hosts": st.fixed_dictionaries({}, optional={"cpus": st.integers(1, 256), "internet": st.booleans()}),
        "registries": st.dictionaries(WORD, MIRRORS, min_size=1, max_size=2),
    },
)
GOOD = st.tuples(ANY, WORD).map(
    # Logins are of mirrors.
    lambda drawn: {**drawn[0], "registriesAuth": f"~/{drawn[1]}.json"} if "registries" in drawn[0] else drawn[0]
)


@given(content=GOOD)
def test_what_is_written_is_read_again(folder: Path, content: dict[str, Any]) -> None:
    # An empty file is no lab.
    content = content or {"workers": 2}
    expected = parse(content, "x")
    assert read(folder, yaml.safe_dump(content).encode()) == expected
    assert read(folder, json.dumps(content).encode()) == expected


@given(content=GOOD)
def test_configuration_says_the_same_as_a_file(folder: Path, content: dict[str, Any]) -> None:
    # As 'pulumi config set' keeps a plain value, and what '--path' makes.
    as_text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
    assert read(folder, b"workers: 2\n", as_text) == parse({"workers": 2, **content}, "x")


@given(
    line=st.one_of(
        edited(
            [
                f"10.0.0.1 {KEY}",
                f"@cert-authority *.lab,10.0.0.? {KEY} comment",
                f"[10.0.0.1]:2222 {KEY}",
                f"|1|a=|b= {KEY}",
            ]
        ),
        st.text(max_size=60),
    )
)
def test_a_line_of_known_hosts_of_any_text(line: str) -> None:
    try:
        known = parse_known_key(line)
    except ValueError as error:
        assert one_paragraph(str(error)), error  # noqa: PT017
        assert type(error) is ValueError  # noqa: PT017
        return
    known.is_of(parse_address("10.0.0.1"))
    assert known.key.isprintable()


@given(
    address=st.one_of(
        st.sampled_from(NASTY), st.text(max_size=20), st.from_regex(r"[0-9.]{1,12}(:[0-9]{1,6})?", fullmatch=True)
    )
)
def test_an_address_of_any_text(address: str) -> None:
    hosts = {"kind": "existing", "addresses": [address], "key": "/k", "hostKeys": [f"@cert-authority * {KEY}"]}
    try:
        parse({"hosts": hosts, "workers": 0, "controllerRunsWorkloads": True}, "x")
    except SettingsError as error:
        message = str(error)
        assert one_paragraph(message), message


@given(content=files([(PROJECT / "components/catalog/distributions.toml").read_text(encoding="utf-8")]))
def test_pins_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    from components.catalog import pins

    path = tmp_path_factory.getbasetemp() / "distributions.toml"
    path.write_bytes(content)
    try:
        pins.require_whole(path)
    except InputError as error:
        assert one_paragraph(str(error)), error  # noqa: PT017


@given(
    text=st.one_of(st.text(), edited(["[a]\nb = 1\n", "a = {b = [1, 'c']}\n", "[[a]]\n'b' = 1979-05-27T07:32:00Z\n"]))
)
def test_toml_of_any_text(text: str) -> None:
    try:
        parse_toml(text, "f.toml")
    except InputError as error:
        assert str(error).startswith("f.toml")  # noqa: PT017
        assert one_paragraph(str(error)), error  # noqa: PT017
