"""A registry that was restored from a backup: noticed, decided, obeyed."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from walt.contracts import nodes
from walt.contracts.checks import FAIL, OK


@pytest.fixture
def registry_file(platform):
    return Path(platform.app.store._database._engine.url.database)


def obeyed(platform):
    specs = platform.bus.call("nodes", "get_specs")
    return {"registry": specs["registry"], **specs["revision"]}


def check(platform, found, agent="vmrunner@lab"):
    return platform.bus.call("nodes", "check_history", agent=agent, **found)


def status(platform):
    (line,) = [one for one in platform.app.diagnose() if one.subject == "registry"]
    return line.status


def test_fault_s11_a_restored_registry_is_noticed_and_decided(platform, registry_file, tmp_path, monkeypatch):
    platform.call("alice", "create_nodes", ["old"])
    with contextlib.closing(sqlite3.connect(registry_file)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "backup"),))
    platform.call("alice", "create_nodes", ["new"])
    lost, found = platform.spec("new"), obeyed(platform)
    platform._container.stop()
    for path in registry_file.parent.glob("registry.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup", registry_file)
    time.sleep(5)  # ids of an epoch begin at the seconds of its start, and the lost one has given a few
    platform._container = None
    platform.start_all()

    created = platform.call("alice", "create_nodes", ["newer"])["nodes"]  # nobody has noticed yet
    assert created and platform.spec("newer").id > lost.id  # no id is given twice
    assert status(platform) == OK
    assert check(platform, found) is None
    assert status(platform) == FAIL
    assert "walt registry accept" in platform.refusal("alice", "stop_nodes", "old")
    assert platform.view("old")["name"] == "old"  # what changes nothing goes on

    monkeypatch.setattr(platform.app.accounts, "check_administrator", lambda caller: None)
    platform.vmrunner.specs.clear()
    assert platform.app.accept_registry("root") == ["vmrunner@lab"]
    assert check(platform, found)["epoch"] not in ("", found["epoch"])
    assert status(platform) == OK
    platform.call("alice", "stop_nodes", "old")
    assert platform.spec("old").power == nodes.POWER_OFF


def test_fault_s11_restarts_and_the_newer_database_are_no_dispute(platform):
    platform.call("alice", "create_nodes", ["a"])
    found = obeyed(platform)
    platform.restart()
    platform.call("alice", "create_nodes", ["b"])
    assert check(platform, found) == {key: obeyed(platform)[key] for key in ("epoch", "sequence")}
    assert status(platform) == OK
