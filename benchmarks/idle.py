"""What the idle services cost: `python -m benchmarks.idle [INSTANCE] [SECONDS]` on a running local platform.

CPU as per cent of one core, memory as proportional set size (shared pages counted once), each service with the
processes that it keeps. The reference is the broker, measured over the same seconds.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from deploy.local import network, supervisor
from deploy.local.instance import Instance

SERVICES = ("nodes", "vmrunner", "netemu", "bootserver", "console")
LIMIT_CPU_PERCENT = 2.0
LIMIT_MEMORY_MB = 600.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def rows(instance: Instance) -> dict[str, list[int]]:
    """Name of the row -> its processes."""
    pids = {one.name: [one.pid] for one in supervisor.states(instance) if one.pid}
    known = {pid for group in pids.values() for pid in group}
    for pid in network.processes(instance):
        line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        if pid not in known and "services.netemu.cable" in line:
            pids.setdefault("netemu", []).append(pid)
    return pids


def main() -> None:
    instance = Instance(sys.argv[1] if len(sys.argv) > 1 else "local")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    groups = rows(instance)
    before = {name: sum(map(cpu_seconds, pids)) for name, pids in groups.items()}
    time.sleep(seconds)
    print(f"{'program':<12}{'CPU % of a core':>18}{'memory MB':>12}")
    total_cpu = total_memory = 0.0
    for name, pids in groups.items():
        cpu = 100 * (sum(map(cpu_seconds, pids)) - before[name]) / seconds
        memory = sum(map(memory_mb, pids))
        if name in SERVICES:
            total_cpu, total_memory = total_cpu + cpu, total_memory + memory
        print(f"{name:<12}{cpu:>18.2f}{memory:>12.1f}")
    print(f"{'five services':<14}{total_cpu:>16.2f}{total_memory:>12.1f}")
    print(f"{'of the limit':<14}{total_cpu / LIMIT_CPU_PERCENT:>16.2f}{total_memory / LIMIT_MEMORY_MB:>12.2f}")


if __name__ == "__main__":
    main()
