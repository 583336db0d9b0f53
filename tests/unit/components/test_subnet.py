"""Which /24 a lab takes beside VPNs, and which routing rules would capture its traffic."""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.checks.machine import Machine
from components.config import lab_file
from components.hosts.nspawn import requirements as nspawn
from components.hosts.nspawn.scripts import subnet
from components.hosts.nspawn.scripts.subnet import Network, Route, SubnetError, captor, choose, free, in_use, wider
from components.steps.scripts import scripts_of
from tools.setup import doctor

LAB = IPv4Network("10.87.3.0/24")
RFC1918 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def network(
    *routes: dict[str, Any], rules: list[dict[str, Any]] | None = None, addr: object = (), neigh: object = ()
) -> Network:
    return subnet.parse(list(routes), rules or [], list(addr), list(neigh))  # type: ignore[call-overload]


def by(*destinations: str, **more: Any) -> Network:
    return network(*[{"dst": dst, "dev": "tun0", **more} for dst in destinations])


class TestInUse:
    @pytest.mark.parametrize(
        "destinations",
        [
            ("default",),
            ("0.0.0.0/1", "128.0.0.0/1"),
            RFC1918,
            ("10.0.0.0/8",),
            ("10.87.0.0/16",),
            ("10.87.2.0/23",),
            ("10.87.4.0/24",),
        ],
    )
    def test_defaults_their_halves_and_wider_routes_use_nothing(self, destinations: tuple[str, ...]) -> None:
        assert in_use(LAB, by(*destinations)) == ""

    @pytest.mark.parametrize("destination", ["10.87.3.0/24", "10.87.3.0/25", "10.87.3.128/26", "10.87.3.7"])
    @pytest.mark.parametrize("kind", ["unicast", "blackhole", "unreachable", "throw", "local"])
    @pytest.mark.parametrize("table", ["main", "51820"])
    def test_an_equal_or_narrower_route_of_any_table_does(self, destination: str, kind: str, table: str) -> None:
        said = in_use(LAB, by(destination, type=kind, table=table))
        assert destination in said
        assert "tun0" in said

    def test_addresses_neighbours_gateways_and_tunnels_ends_do(self) -> None:
        assert "on eth0" in in_use(
            LAB, network(addr=[{"ifname": "eth0", "addr_info": [{"local": "10.87.3.9", "prefixlen": 8}]}])
        )
        assert "neighbour on eth0" in in_use(
            LAB, network(neigh=[{"dst": "10.87.3.9", "dev": "eth0", "state": ["STALE"]}])
        )
        assert in_use(LAB, network(neigh=[{"dst": "10.87.3.9", "dev": "eth0", "state": ["FAILED"]}])) == ""
        assert "gateway" in in_use(LAB, network({"dst": "default", "gateway": "10.87.3.1", "dev": "eth0"}))
        assert "gateway" in in_use(LAB, network({"dst": "default", "nexthops": [{"gateway": "10.87.3.1", "dev": "e"}]}))
        assert "other end" in in_use(
            LAB, network(addr=[{"ifname": "tun0", "addr_info": [{"local": "10.8.0.2", "address": "10.87.3.1"}]}])
        )

    def test_a_name_server_and_the_operators_own_connection_do(self) -> None:
        assert subnet.nameservers("# x\nnameserver 10.87.3.53\nsearch a b\nnameserver fe80::1\n") == [
            (IPv4Address("10.87.3.53"), "this machine's name server")
        ]
        head = "  sl  local_address rem_address   st\n"
        rows = "   0: 0202000A:0016 0903570A:C350 01 00000000:00000000\n   1: 00000000:0016 00000000:0000 0A 0\n"
        assert [str(address) for address, _ in subnet.peers(head + rows)] == ["10.87.3.9"]

    def test_what_is_left_on_the_labs_own_link_does_not(self) -> None:
        left = network(
            {"dst": "10.87.3.0/25", "dev": "a-123", "gateway": "10.87.3.253"},
            addr=[{"ifname": "a-123", "addr_info": [{"local": "10.87.3.254"}]}],
        )
        assert in_use(LAB, left) != ""
        assert in_use(LAB, left, own="a-123") == ""

    def test_another_lab_does(self) -> None:
        assert "another lab" in in_use(LAB, Network(), ["10.87.3"])

    @pytest.mark.parametrize("text", ["127.0.0.0/24", "224.0.0.0/24", "169.254.3.0/24", "0.0.0.0/24", "240.0.0.0/24"])
    def test_what_is_no_network_for_hosts_is_refused(self, text: str) -> None:
        assert "no network for hosts" in in_use(IPv4Network(text), Network())


class TestChoice:
    def test_all_of_rfc_1918_in_a_vpn_leaves_a_subnet_and_a_note(self) -> None:
        found, note = choose("a-1", by(*RFC1918), [])
        assert found.prefixlen == 24
        assert "tun0" in note
        assert choose("a-1", by("0.0.0.0/1", "128.0.0.0/1"), [])[1] == ""

    def test_one_outside_of_every_route_goes_first(self) -> None:
        found, note = choose("a-1", by("10.0.0.0/8"), [])
        assert str(found).startswith("172.29.")
        assert note == ""

    def test_a_named_one_inside_a_vpns_network_is_taken_with_a_note(self) -> None:
        found, note = choose("a-1", by("10.0.0.0/8"), [], named="10.87.3.0/24")
        assert found == LAB
        assert "inside the route 10.0.0.0/8 dev tun0" in note

    def test_a_refusal_names_by_what_and_one_that_would_be_taken(self) -> None:
        """Neither message sends to the other."""
        there = by("10.87.3.0/24", *RFC1918)
        with pytest.raises(
            SubnetError, match=r"hosts\.subnet: 10\.87\.3\.0/24 is in use.*Leave|leave hosts\.subnet out"
        ) as said:
            choose("a-1", there, [], named="10.87.3.0/24")
        words = str(said.value).split()
        named = next(word for word in words if word.endswith("/24") and word != "10.87.3.0/24")
        assert choose("a-1", there, [], named=named)[0] == IPv4Network(named)

    def test_where_every_candidate_is_in_use_both_messages_lead_out(self) -> None:
        full = by(*[f"{half}.{third}.0/24" for half in subnet.CANDIDATES for third in range(256)])
        with pytest.raises(SubnetError, match=r"Name another /24 that nobody uses as hosts\.subnet"):
            choose("a-1", full, [])
        with pytest.raises(SubnetError, match="Name another /24 that is free") as said:
            choose("a-1", full, [], named="10.87.3.0/24")
        assert "leave hosts.subnet out" not in str(said.value).lower()
        assert choose("a-1", full, [], named="198.18.0.0/24")[0] == IPv4Network("198.18.0.0/24")


def rule(priority: int, table: str = "", **keys: Any) -> dict[str, Any]:
    return {"priority": priority, "src": "all", **({"table": table} if table else {}), **keys}


PLAIN = [rule(0, "local"), rule(32766, "main"), rule(32767, "default")]
WIREGUARD = [rule(32764, "main", suppress_prefixlen=0), rule(32765, "51820", **{"not": None, "fwmark": "0xca6c"})]
DEFAULT_IN = {table: {"dst": "default", "dev": "wg0", "table": table} for table in ("51820", "52", "1000")}


class TestRules:
    @pytest.mark.parametrize(
        ("rules", "routes"),
        [
            ([], []),
            (WIREGUARD, [DEFAULT_IN["51820"]]),
            ([rule(5270, "52")], [{"dst": "100.64.0.0/10", "table": "52"}]),
            ([rule(5270, "52")], []),
            ([rule(5270, "52")], [DEFAULT_IN["52"], {"type": "throw", "dst": "10.0.0.0/8", "table": "52"}]),
            ([rule(100, "52", dst="10.9.0.0", dstlen=16)], [DEFAULT_IN["52"]]),
            ([rule(100, "52", src="10.9.0.4")], [DEFAULT_IN["52"]]),
            ([rule(100, "52", fwmark="0x1", fwmask="0xff")], [DEFAULT_IN["52"]]),
            ([rule(100, "52", iif="eth0"), rule(101, "52", oif="eth0"), rule(102, "52", l3mdev=None)], [DEFAULT_IN["52"]]),
            ([rule(100, nop=None), rule(101, goto=32766)], []),
            ([rule(32768, "52")], [DEFAULT_IN["52"]]),
        ],
    )  # fmt: skip
    def test_these_leave_the_lab_alone(self, rules: list[dict[str, Any]], routes: list[dict[str, Any]]) -> None:
        assert captor(LAB, network(*routes, rules=[*PLAIN, *rules])) is None

    @pytest.mark.parametrize(
        ("rules", "routes", "priority"),
        [
            ([rule(5270, "52")], [DEFAULT_IN["52"]], 99),
            ([rule(5270, "52")], [{"dst": "10.0.0.0/8", "dev": "tun0", "table": "52"}], 99),
            ([rule(5270, "52")], [{"dst": "0.0.0.0/1", "dev": "tun0", "table": "52"}], 99),
            ([rule(50, "52")], [DEFAULT_IN["52"]], 49),
            ([rule(1, "52")], [DEFAULT_IN["52"]], 0),
            (WIREGUARD[1:], [DEFAULT_IN["51820"]], 99),
            ([rule(100, "52", dst="10.0.0.0", dstlen=8)], [DEFAULT_IN["52"]], 99),
            ([rule(100, "52", uid_start=0, uid_end=1000)], [DEFAULT_IN["52"]], 99),
            ([rule(100, "52", iif="lo")], [DEFAULT_IN["52"]], 99),
            ([rule(100, action="unreachable", dst="10.0.0.0", dstlen=8)], [], 99),
            ([rule(100, "1000"), rule(101, "52")], [DEFAULT_IN["52"]], 99),
        ],
    )
    def test_these_would_capture_it_and_the_labs_rule_goes_before_them(
        self, rules: list[dict[str, Any]], routes: list[dict[str, Any]], priority: int
    ) -> None:
        there = network(*routes, rules=[*PLAIN, *rules])
        assert subnet.rule_priority(LAB, there) == priority
        ours = rule(priority, "main", dst="10.87.3.0", dstlen=24)
        # The kernel puts a rule behind those of the same priority.
        after = network(*routes, rules=[*PLAIN, ours, *rules])
        assert next(r for r in after.rules if r.table != "local" and r.priority <= priority).keys == ours

    def test_before_priority_0_no_rule_can_go_and_the_fix_is_named(self) -> None:
        there = network(DEFAULT_IN["52"], rules=[rule(0, "local"), rule(0, "52"), rule(32766, "main")])
        with pytest.raises(SubnetError, match=r"a routing rule with priority 0.*Give that rule a higher number"):
            subnet.rule_priority(LAB, there)


class TestSaidBeforehand:
    """By ``make doctor`` and by the preflight, before anything is made."""

    def problems(self, there: Network | None, *, is_new: bool = True, **hosts: str) -> list[str]:
        lab = lab_file.parse({"hosts": {"kind": "nspawn", **hosts}}, "lab")
        return nspawn.problems(lab, Machine("x86_64", 64, 10**6, 1000, is_root=True, network=there), is_new)

    @pytest.mark.parametrize("destinations", [(), ("0.0.0.0/1", "128.0.0.0/1"), RFC1918])
    def test_vpns_that_a_lab_fits_beside(self, destinations: tuple[str, ...]) -> None:
        assert self.problems(by(*destinations)) == []
        assert self.problems(by(*destinations), subnet="10.87.3.0/24") == []
        assert doctor.routes(by(*destinations), []).ok

    def test_a_named_subnet_in_use_is_refused_while_the_lab_is_new(self) -> None:
        there = by("10.87.3.0/24")
        (said,) = self.problems(there, subnet="10.87.3.0/24")
        assert "is in use on this machine by route 10.87.3.0/24 dev tun0" in said
        assert self.problems(there, subnet="10.87.3.0/24", is_new=False) == []
        assert self.problems(None, subnet="10.87.3.0/24") == []

    def test_a_rule_that_none_can_go_before_is_refused_by_both(self) -> None:
        there = network(DEFAULT_IN["52"], rules=[rule(0, "52")])
        (said,) = self.problems(there)
        assert "priority 0" in said
        finding = doctor.routes(there, [])
        assert (finding.ok, finding.needed) == (False, True)
        assert "priority 0" in finding.fix

    def test_doctor_says_what_a_lab_will_do_about_a_vpn(self) -> None:
        finding = doctor.routes(
            network(
                DEFAULT_IN["52"], *[{"dst": dst, "dev": "tun0"} for dst in RFC1918], rules=[*PLAIN, rule(5270, "52")]
            ),
            [],
        )
        assert finding.ok
        assert "tun0" in finding.detail
        assert "priority 99" in finding.detail


NETWORKS = st.builds(
    lambda number, length: str(IPv4Network((number, length), strict=False)),
    st.integers(0, 2**32 - 1) | st.integers(0x0A570000, 0x0A57FFFF),
    st.integers(0, 32),
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"dst": NETWORKS | st.just("default") | st.text(max_size=8)},
        optional={
            "dev": st.sampled_from(["eth0", "tun0"]), "gateway": st.sampled_from(["10.1.1.1", "fe80::1", ""]),
            "table": st.sampled_from(["local", "52", "main"]), "type": st.sampled_from(["unicast", "blackhole", "throw"]),
            "nexthops": st.lists(st.dictionaries(st.sampled_from(["gateway", "dev"]), st.text(max_size=5))),
        },
    ),
    max_size=8,
)  # fmt: skip
RULES = st.lists(
    st.fixed_dictionaries(
        {"priority": st.integers(1, 40000)},
        optional={
            "src": NETWORKS | st.just("all"), "dst": NETWORKS | st.just("all"), "table": st.sampled_from(["52", "main", "local"]),
            "not": st.none(), "fwmark": st.sampled_from(["0x1", "0", "x"]), "iif": st.sampled_from(["lo", "eth0"]),
            "suppress_prefixlen": st.integers(0, 32), "action": st.sampled_from(["prohibit", "nat"]), "uid_start": st.just(0),
        },
    ),
    max_size=6,
)  # fmt: skip
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dst", "priority", "table", "ifname", "addr_info", "local", "state"]) , inner, max_size=4), max_leaves=12)  # fmt: skip


@given(ROUTES, RULES)
def test_what_is_chosen_is_used_by_nothing_and_named_again_it_is_taken(
    routes: list[dict[str, Any]], rules: list[dict[str, Any]]
) -> None:
    there = network(*routes, rules=rules)
    found = free("a-1", there, [])
    if found is None:
        return
    assert not any(r.network.subnet_of(found) for r in there.routes)
    assert not any(address in found for address, _ in there.used)
    assert choose("a-1", there, [], named=str(found))[0] == found
    route = wider(found, there)
    assert route is None or (found.subnet_of(route.network) and not route.is_default)


@given(ROUTES, RULES)
def test_with_the_labs_own_rule_nothing_captures_it(routes: list[dict[str, Any]], rules: list[dict[str, Any]]) -> None:
    there = network(*routes, rules=rules)
    priority = subnet.rule_priority(LAB, there)
    if priority is None:
        return
    ours = Route(IPv4Network("10.87.3.0/25"))
    with_rule = Network(
        (*there.routes, ours),
        (subnet.Rule(priority, {"dst": str(LAB), "table": "main"}), *there.rules),
    )
    assert (
        min(
            r.priority
            for r in with_rule.rules
            if captor(LAB, Network(there.routes, (r,))) or r.keys.get("dst") == str(LAB)
        )
        == priority
    )


@given(JSON, JSON, JSON, JSON)
def test_whatever_ip_prints_nothing_crashes(routes: object, rules: object, addr: object, neigh: object) -> None:
    there = subnet.parse(routes, rules, addr, neigh)
    in_use(LAB, there)
    captor(LAB, there)
    free("a-1", there, [])


@given(st.text(max_size=80))
def test_whatever_the_files_hold_nothing_crashes(text: str) -> None:
    subnet.nameservers(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_the_kernel_routes_as_the_rules_were_read() -> None:
    """A VPN's rule in a real namespace captures the lab's address until the lab's own rule is there."""
    script = """
    ip link set lo up; ip link add tun0 type veth peer name x; ip link add up0 type veth peer name y
    for link in tun0 up0; do ip link set "$link" up; done
    ip addr add 10.8.0.2/24 dev tun0; ip addr add 10.87.3.254/30 dev up0; ip route add 10.87.3.0/25 dev up0
    ip route add default dev tun0 table 52; ip rule add pref 5270 lookup 52
    ip route get 10.87.3.11 | head -n 1
    priority=$(python3 -I "$SUBNET" rule 10.87.3)
    ip rule add pref "$priority" to 10.87.3.0/24 lookup main
    ip route get 10.87.3.11 | head -n 1
    python3 -I "$SUBNET" rule 10.87.3
    python3 -I "$SUBNET" choose a-1 up0 '' 10.87.3.0/24
    python3 -I "$SUBNET" choose a-1 up1 '' 10.8.0.0/24
    """
    done = subprocess.run(
        ["unshare", "--net", "bash", "-euc", script],
        capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "SUBNET": str(scripts_of("nspawn") / "subnet.py")},
    )  # fmt: skip
    first, second, again, own = done.stdout.splitlines()
    assert "dev tun0" in first
    assert "dev up0" in second
    assert (again, own) == ("", "10.87.3")
    assert done.returncode == 1
    assert "hosts.subnet: 10.8.0.0/24 is in use on this machine by route" in done.stderr
    assert json.dumps(done.stderr).count("error: ") == 1
