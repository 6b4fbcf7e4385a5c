"""docs/limits.md says the bounds of the code."""

import re
from pathlib import Path

import pytest

from deploy.broker import rabbitmq
from services.bootserver.images.jobs import JOBS_PER_USER
from services.bootserver.images.transfers import TRANSFERS_PER_USER
from services.bootserver.workers import disk_reserve
from services.console.amqp_streams import INPUT_BOUNDS
from services.console.line.scrollback import KEPT_BYTES
from services.kit.bus.requests import CALLS_OF_ONE_USER, WAITING_OF_ONE_USER
from services.kit.bus.shares import FLOOD, REFUSALS_S
from services.netemu.capture.capture_buffer import QUEUE_BYTES as QUEUE_BYTES_OF_CAPTURE
from services.netemu.kernel.forwarding_table import MAX_LEARNED
from services.nodes.domain.event_texts import EVENTS_KEPT
from services.nodes.users.accounts import CONNECTION_LIMITS
from services.nodes.users.broker_use import ALLOWED, BINDINGS, EXCHANGES, QUEUE_BYTES, QUEUES
from walt.contracts.broker_permissions import MAX_REQUEST_BYTES
from walt.contracts.console import MAX_CAPTURES_PER_USER, MAX_SESSIONS_PER_USER
from walt.contracts.netemu import MAX_CAPTURES
from walt.contracts.nodes import SUSPENDED_S

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
PAGE = (ROOT / "docs/limits.md").read_text()
ROWS = {cells[0]: cells[1:] for cells in re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)}


def broker_setting(name):
    return int(re.search(rf"^{name} = (\d+)$", rabbitmq.COMMON.read_text(), re.MULTILINE)[1])


BOUNDS = {
    "connections and channels of a user": "{max-connections} and {max-channels}".format(**CONNECTION_LIMITS),
    "queues, exchanges and bindings of a user, bytes in his queues": (
        f"{ALLOWED[QUEUES]}, {ALLOWED[EXCHANGES]}, {ALLOWED[BINDINGS]}, {ALLOWED[QUEUE_BYTES] // MIB} MiB"
    ),
    "queues of all": f"{rabbitmq.MAX_QUEUES:,}",
    "messages in one queue": (
        f"{rabbitmq.QUEUE_MESSAGES:,}; {rabbitmq.USER_QUEUE_BYTES // MIB} MiB in one of a user, "
        f"{rabbitmq.QUEUE_BYTES // MIB} MiB in one of a service"
    ),
    "one message": f"{broker_setting('max_message_size') // MIB} MiB; a call of a user {MAX_REQUEST_BYTES // MIB} MiB",
    "calls of a user that run, and that wait, in each service": f"{CALLS_OF_ONE_USER} and {WAITING_OF_ONE_USER}",
    "refused calls of a user": f"{FLOOD} in {REFUSALS_S:g} s",
    "console input of a user on one host": (
        f"{INPUT_BOUNDS.per_s} messages and {INPUT_BOUNDS.bytes_per_s // MIB} MiB a second"
    ),
    "sessions of a user on one host": f"{MAX_SESSIONS_PER_USER}",
    "captures of a user on one host": f"{MAX_CAPTURES_PER_USER}, each with {QUEUE_BYTES_OF_CAPTURE // MIB} MiB",
    "captures on one host": f"{MAX_CAPTURES}",
    "addresses that a network learns": f"{MAX_LEARNED}",
    "console line of a node": f"the last {KEPT_BYTES // MIB} MiB at least",
    "jobs and transfers of images of a user": f"{JOBS_PER_USER} and {TRANSFERS_PER_USER}",
    "free space while images are made": (
        f"{disk_reserve.SPARE_BYTES // 2**30} GiB and {disk_reserve.SPARE_FILES:,} files"
    ),
    "the log of events": f"{EVENTS_KEPT:,};",
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_bound_is_as_the_page_says(what):
    assert ROWS[what][0].startswith(BOUNDS[what])


def test_the_time_for_which_a_user_is_suspended_is_said():
    assert f"for {SUSPENDED_S:g} s he gets no other" in PAGE


def test_each_row_says_what_a_user_sees_and_who_changes_it():
    tables = PAGE.split("## What is bounded for everybody")[1]
    rows = [line for line in tables.split("## Fairness")[0].splitlines() if line.startswith("| ")]
    assert rows and all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
