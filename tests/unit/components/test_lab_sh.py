"""Names that nspawn labs give to what they make on the machine."""

from __future__ import annotations

import subprocess

import pytest

from components.steps.scripts import scripts_of

LAB_SH = scripts_of("nspawn") / "lab.sh"


def uplink(lab_id: str) -> str:
    return subprocess.run(
        ["bash", "-euc", '. "$0"; uplink_of "$1"', str(LAB_SH), lab_id],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout


@pytest.mark.parametrize("stack", ["a", "k0s-lab", "upstream-lab", "x" * 40])
def test_a_links_name_fits_the_kernels_15_characters_and_begins_as_the_stack(stack: str) -> None:
    name = uplink(f"{stack}-abcdef")
    assert len(name) <= 15
    assert name.startswith(stack[:8])


def test_stacks_of_one_checkout_that_begin_alike_get_links_of_their_own() -> None:
    """Else the second lab would take the first one's link away."""
    assert uplink("upstream-lab-abcdef") != uplink("upstream-lab-2-abcdef")


def test_the_same_stack_of_two_checkouts_gets_links_of_their_own() -> None:
    assert uplink("k0s-lab-abcdef") != uplink("k0s-lab-123456")
