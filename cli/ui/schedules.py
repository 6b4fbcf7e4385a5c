"""Schedules of links, begun at one moment, and what is said of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import click

from walt.client import Client
from walt.contracts.schedules import PortSchedule, ScheduleStarted
from walt.replies import read

from .messages import print_message
from .options import SECONDS

START_DELAY_S = 2.0

start_option = click.option(
    "--in", "after", type=SECONDS, metavar="S", default=START_DELAY_S, show_default=True, help="It begins in S seconds."
)


def start_schedules(client: Client, ports: Sequence[PortSchedule], after_s: float) -> None:
    """Tell which links change by themselves from when on."""
    given = [dataclasses.asdict(port) for port in ports]
    started = read(ScheduleStarted, client.call("nodes", "schedule_links", ports=given, after=after_s))
    seconds, micros = divmod(started.start_us, 1_000_000)
    moment = time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{micros // 1000:03d}"
    for link in started.links:
        print_message(f"{link}: changes by itself, beginning at {moment}")
