"""Asks each host over ssh, before and after a run, for what no API tells: CPU model, clock offset, stolen CPU time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.model.hosts_file import LabHost

_CLOCK_READINGS = 8

# Prints facts, then answers each line of its input with its clock: the answer with the shortest round trip counts.
# What comes before the first line, which has a mark of its own in each call, is what the host's login prints.
_SCRIPT = """\
export LC_ALL=C
printf '\\n%s\\n' MARK
echo "kernel=$(uname -r)"
echo "os=$(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
echo "cpu_model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)"
echo "cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "memory_kib=$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)"
echo "swap_kib=$(awk 'NR > 1 { kib += $3 } END { print kib + 0 }' /proc/swaps)"
echo "virtualization=$(systemd-detect-virt 2>/dev/null)"
echo "load=$(cut -d ' ' -f 1 /proc/loadavg)"
echo "stat=$(head -n 1 /proc/stat)"
echo end
while read -r _; do date +%s%N; done
"""


class HostProbe(BaseModel):
    """One host's facts. `error` says why they are missing, or partly so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: str
    error: str | None = None
    kernel: str = ""
    os: str = ""
    cpu_model: str = ""
    cpus: int = 0
    memory_kib: int = 0
    swap_kib: Annotated[
        int | None, Field(description="Swap of the host's kernel; of the whole machine where a host is a container.")
    ] = None
    virtualization: str = ""
    load_average_1min: float | None = None
    clock_offset_ms: Annotated[float | None, Field(description="Host's clock - client's clock, before the run.")] = None
    clock_uncertainty_ms: Annotated[float | None, Field(description="Half of the shortest round trip.")] = None
    clock_offset_after_ms: float | None = None
    steal_share: Annotated[
        float | None, Field(description="CPU time stolen by a hypervisor during the run / all CPU time.")
    ] = None
    cpu_busy_share: Annotated[
        float | None, Field(description="CPU time not idle during the run / all, as the host's /proc/stat has it.")
    ] = None
    cpu_ticks: Annotated[list[int], Field(description="First line of /proc/stat before the run.")] = []


async def probe_hosts(hosts: Sequence[LabHost], limit_s: float) -> list[HostProbe]:
    """All hosts at once, in bounded time; a host that can't be asked says so in its entry."""
    return list(await asyncio.gather(*(_probe(host, limit_s) for host in hosts)))


def after_run(before: Sequence[HostProbe], after: Sequence[HostProbe]) -> list[HostProbe]:
    """The facts from before with what has changed since."""
    return [_compared(first, second) for first, second in zip(before, after, strict=True)]


def _compared(before: HostProbe, after: HostProbe) -> HostProbe:
    if before.error or after.error:
        return before if before.error else before.model_copy(update={"error": f"after the run: {after.error}"})
    spent = [late - early for early, late in zip(before.cpu_ticks, after.cpu_ticks, strict=False)]
    total = sum(spent[:8])  # guest time (fields 9, 10) is in user time already (proc(5))
    shares = {}
    if len(spent) >= 8 and total > 0:
        idle = spent[3] + spent[4]
        shares = {"steal_share": round(spent[7] / total, 5), "cpu_busy_share": round(1 - idle / total, 4)}
    return before.model_copy(update={"clock_offset_after_ms": after.clock_offset_ms, **shares})


async def _probe(host: LabHost, limit_s: float) -> HostProbe:
    try:
        return await asyncio.wait_for(_ask(host, limit_s), limit_s)
    except TimeoutError:
        return HostProbe(name=host.name, role=host.role, error=f"no answer over ssh within {limit_s:g} s")
    except (OSError, ValueError) as error:
        return HostProbe(name=host.name, role=host.role, error=str(error)[:300])


def _ssh_command(host: LabHost, limit_s: float) -> list[str]:
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={limit_s / 3:.0f}", "-o", "LogLevel=ERROR"]
    if host.ssh_config:
        return [*command, "-F", host.ssh_config, host.name, "bash --norc -s"]
    return [*command, "-p", str(host.port), f"{host.user}@{host.address}", "bash --norc -s"]


async def _ask(host: LabHost, limit_s: float) -> HostProbe:
    process = await asyncio.create_subprocess_exec(
        *_ssh_command(host, limit_s),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    try:
        mark = f"litelab-{secrets.token_hex(8)}"
        process.stdin.write(_SCRIPT.replace("MARK", mark).encode())
        noise: list[str] = []
        while (line := await _line(process.stdout)) != mark:
            if line is None:
                reason = (await process.stderr.read()).decode("utf-8", "replace").strip()
                printed = f"its login printed {' | '.join(noise)}" if noise else ""
                msg = f"ssh: {'; '.join(filter(None, [' '.join(reason.split()), printed])) or 'the connection ended'}"
                raise ValueError(msg)
            noise += [line] if line.strip() else []
        facts: dict[str, str] = {}
        while (line := await _line(process.stdout)) != "end":
            if line is None:
                msg = "ssh: the connection ended"
                raise ValueError(msg)
            key, _, value = line.partition("=")
            facts[key] = value
        readings = [await _read_clock(process.stdin, process.stdout) for _ in range(_CLOCK_READINGS)]
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    uncertainty_ms, offset_ms = min(readings)
    return HostProbe(
        name=host.name,
        role=host.role,
        kernel=facts["kernel"],
        os=facts["os"],
        cpu_model=facts["cpu_model"],
        cpus=int(facts["cpus"]),
        memory_kib=int(facts["memory_kib"]),
        swap_kib=int(facts["swap_kib"]),
        virtualization=facts["virtualization"],
        load_average_1min=float(facts["load"]),
        clock_offset_ms=round(offset_ms, 3),
        clock_uncertainty_ms=round(uncertainty_ms, 3),
        cpu_ticks=[int(part) for part in facts["stat"].split()[1:]],
    )


async def _line(stream: asyncio.StreamReader) -> str | None:
    """The next line, or None at the end."""
    line = await stream.readline()
    return line.decode("utf-8", "replace").rstrip("\n") if line else None


async def _read_clock(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> tuple[float, float]:
    """(half of the round trip, host's clock - client's clock at its middle), in milliseconds."""
    asked_ns, asked_wall_ns = time.monotonic_ns(), time.time_ns()
    stdin.write(b"\n")
    await stdin.drain()
    answer = int(await stdout.readline())
    half_trip_ns = (time.monotonic_ns() - asked_ns) / 2
    return half_trip_ns / 1e6, (answer - (asked_wall_ns + half_trip_ns)) / 1e6
