"""The time that a VM could not run."""

from __future__ import annotations

import pytest

from services.vmrunner.lifecycle import boot_clock
from services.vmrunner.lifecycle.boot_clock import BootClock, host_idle_seconds, starved_s


@pytest.mark.parametrize(
    ("passed_s", "cpu_s", "idle_s", "starved"),
    [
        (100, 100, 0, 0),  # it had a CPU all the time
        (100, 0, 100, 0),  # it could have had one
        (100, 30, 20, 50),
        (100, 0, 0, 75),  # the host was busy with others: a quarter counts all the same
        (100, 150, 3000, 0),
        (0, 0, 0, 0),
    ],
)
def test_time_counts_that_it_had_or_could_have_had_a_cpu(passed_s, cpu_s, idle_s, starved):
    assert starved_s(passed_s, cpu_s, idle_s) == starved


def test_each_period_is_counted_once():
    now = {"clock": 10.0, "cpu": 1.0, "idle": 500.0}
    clock = BootClock(lambda: now["cpu"], lambda: now["idle"], lambda: now["clock"])
    now.update(clock=20.0, cpu=3.0, idle=501.0)
    assert clock.starved_s() == 7.0
    assert clock.starved_s() == 0.0
    now.update(clock=30.0, cpu=13.0)
    assert clock.starved_s() == 0.0


def test_a_vm_that_is_gone_has_no_cpu_time():
    clock = BootClock(lambda: None, lambda: 0.0, lambda: 0.0)
    assert clock.starved_s() == 0.0


def test_idle_time_of_all_cpus(monkeypatch, tmp_path):
    assert host_idle_seconds() > 0
    (tmp_path / "stat").write_text("cpu  100 0 100 700 50 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    monkeypatch.setattr(boot_clock, "CPU_TIMES", tmp_path / "stat")
    assert host_idle_seconds() == 750 / boot_clock.CLOCK_TICKS
