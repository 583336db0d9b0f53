"""Hosts that can't be made as they should: each error names the host, the wait and the fix, and the fix works."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import DamagedCache, cut_off, replace
from tests.faults.lab import FaultLab
from tests.faults.tally import Injection, Tally

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]


def fails(lab: FaultLab, *words: str, **env: str) -> str:
    """``make lab``, which must fail and say all of that in one paragraph."""
    code, output = lab.verb("lab", env)
    assert code != 0, output[-3000:]
    assert "Traceback" not in output, output[-5000:]
    paragraphs = [line for line in output.splitlines() if "error: " in line]
    assert any(all(word in line for word in words) for line in paragraphs), f"{words} not in:\n{output[-5000:]}"
    return output


def cleared(lab: FaultLab, injection: Injection, end: str) -> None:
    """``make destroy`` leaves nothing, and nothing secret was seen."""
    lab.note_secrets()
    injection.secrets = lab.leaks()
    lab.goes("destroy")
    injection.orphans = lab.orphans()
    assert injection.orphans == []
    assert injection.secrets == []
    injection.ended(end)


@pytest.fixture
def cache(lab: FaultLab, tmp_path: Path) -> DamagedCache:
    return DamagedCache(tmp_path / "cache", Path(lab.env["LITELAB_CACHE"]))


@pytest.mark.parametrize("program", ["usr/lib/systemd/systemd", "usr/lib/x86_64-linux-gnu/libc.so.6"])
def test_a_root_image_that_is_cut_off_is_named_and_another_one_cures_it(
    program: str, lab: FaultLab, cache: DamagedCache, tally: Tally
) -> None:
    replace(cache.root_image() / program, cut_off)
    injection = tally.inject("root image cut off", program)
    fails(
        lab,
        "host host-1:",
        "its machine ended while it booted",
        "root image is damaged",
        "make setup",
        LITELAB_CACHE=str(cache.folder),
    )
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error names the fix; make lab with a whole image went on")


def test_a_root_image_without_a_system_is_refused_by_its_path(lab: FaultLab, cache: DamagedCache, tally: Tally) -> None:
    (cache.root_image() / "usr/lib/systemd/systemd").unlink()
    injection = tally.inject("root image cut off", "no systemd in it")
    fails(lab, "host host-1:", "is not a root image", "make setup", LITELAB_CACHE=str(cache.folder))
    cleared(lab, injection, "the error names the fix; make destroy cleared it")


def test_a_host_that_never_answers_ssh_ends_in_an_error_with_its_last_words(
    lab: FaultLab, cache: DamagedCache, tally: Tally
) -> None:
    replace(cache.root_image() / "usr/sbin/sshd", lambda _: b"#!/bin/sh\nexec sleep 1000000\n")
    injection = tally.inject("no answer by ssh", "sshd listens on nothing")
    fails(
        lab, "host host-1:", "waited 5 s for ssh at ", "Last answer:", "Run the same command again",
        LITELAB_CACHE=str(cache.folder), SSH_TIMEOUT_S="5",
    )  # fmt: skip
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error names host, wait and fix; make lab went on")


@pytest.fixture
def taken_subnet() -> Iterator[str]:
    """A /24 that a route of this machine has."""
    subnet = "10.139.251.0/24"
    subprocess.run(["ip", "route", "add", "blackhole", subnet], check=True, timeout=10)
    try:
        yield subnet
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", subnet], check=True, timeout=10)


def test_a_subnet_in_use_is_refused_by_its_key_and_leaving_it_out_cures_it(
    lab: FaultLab, taken_subnet: str, tally: Tally
) -> None:
    injection = tally.inject("subnet in use", taken_subnet)
    lab.pulumi("config", "set", "--path", "--plaintext", "litelab:hosts.subnet", taken_subnet)
    try:
        fails(lab, "hosts.subnet:", taken_subnet, "leave hosts.subnet out")
    finally:
        lab.pulumi("config", "rm", "--path", "litelab:hosts.subnet")
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "the error names key and fix; make lab without the key went on")


def test_namespaces_left_by_a_killed_run_are_taken_over_and_go_with_the_lab(lab: FaultLab, tally: Tally) -> None:
    injection = tally.inject("namespace left", f"litelab-{lab.id} and that of its host-1")
    for namespace in (f"litelab-{lab.id}", f"litelab-{lab.id}-host-1"):
        subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=10)
    lab.goes("lab")
    lab.works()
    cleared(lab, injection, "make lab made it anew")


def test_a_namespace_left_alone_is_found_and_named(lab: FaultLab, tally: Tally) -> None:
    injection = tally.inject("namespace left", "without any lab")
    subprocess.run(["ip", "netns", "add", f"litelab-{lab.id}"], check=True, timeout=10)
    assert any(line.startswith(f"lab {lab.id}:") for line in lab.orphans())
    lab.goes("lab")
    cleared(lab, injection, "make orphans names it; make lab and make destroy cleared it")
