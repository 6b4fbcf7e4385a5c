"""`walt log show`: what it asks, how events become lines, and how it follows."""

from __future__ import annotations

import json
import time

import click
import pytest

from cli.commands import log
from cli.tree import run
from tests.unit.cli.fakes import FakeClient, Script
from walt.contracts.errors import NotFound, Unreachable

NOON = 1_763_899_200.0


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def event(number, node="vnode1", kind="state", text="booted: ssh answers after 3.2 s", user="", **more):
    return {
        "id": number,
        "at": NOON + number,
        "node": node,
        "owner": "alice",
        "user": user,
        "kind": kind,
        "text": text,
        **more,
    }


EVENTS = [
    event(1, kind="config", user="alice", text="ram=2G"),
    event(2, kind="reboot", user="alice", text=""),
    event(3, node="n", text="stopped"),
    event(4),
]


def show(client, line=""):
    return run(["log", "show", *line.split()], client)


def test_lines(capsys):
    assert show(FakeClient(get_events=EVENTS)) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "2025-11-23 12:00:01  vnode1  config   by alice: ram=2G",
        "2025-11-23 12:00:02  vnode1  reboot   by alice",
        "2025-11-23 12:00:03  n       stopped",
        "2025-11-23 12:00:04  vnode1  booted   ssh answers after 3.2 s",
    ]
    assert said.err == ""


def test_wide_tells_the_owner(capsys):
    show(FakeClient(get_events=[event(1), event(2, owner="")]), "-o wide")
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == ["alice", "(free)"]


def test_control_characters_are_shown_not_obeyed(capsys):
    show(FakeClient(get_events=[event(1, text="failed: \x1b[2J\nx")]))
    assert capsys.readouterr().out.splitlines()[0].endswith("failed  \\x1b[2J\\nx")


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", {"selection": None, "since": 0.0, "limit": 1000}),
        ("a,my-nodes -n 5", {"selection": "a,my-nodes", "since": 0.0, "limit": 5}),
        ("--since 1970-01-02T00:00:00+00:00", {"selection": None, "since": 86_400.0, "limit": 1000}),
    ],
)
def test_what_is_asked(line, asked):
    client = FakeClient(get_events=[])
    show(client, line)
    assert client.calls == [("nodes.get_events", asked)]


def test_nothing_is_said_not_printed(capsys):
    show(FakeClient(get_events=[]))
    assert capsys.readouterr() == ("", "nothing has happened\n")
    show(FakeClient(get_events=[]), "-o json")
    assert capsys.readouterr().out == "[]\n"


def test_usual_limit_is_said_when_it_was_reached(monkeypatch, capsys):
    monkeypatch.setattr(log, "DEFAULT_LINES", 4)
    show(FakeClient(get_events=EVENTS))
    assert capsys.readouterr().err == "the newest 4 events; -n and --since select others\n"
    show(FakeClient(get_events=EVENTS), "-n 4")
    assert capsys.readouterr().err == ""


def test_json_is_what_the_service_said_and_csv_has_its_keys(capsys):
    show(FakeClient(get_events=EVENTS), "-o json")
    assert json.loads(capsys.readouterr().out) == EVENTS
    show(FakeClient(get_events=EVENTS[:1]), "-o csv")
    assert capsys.readouterr().out.splitlines()[0] == "id,at,node,owner,user,kind,text"


@pytest.mark.parametrize(
    ("text", "ago"), [("30s", 30), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("0s", 0), ("999999999d", NOON)]
)
def test_since(text, ago):
    assert log.since(text, NOON) == NOON - ago


@pytest.mark.parametrize(
    ("text", "at"),
    [("2025-11-23T12:00", NOON), ("2025-11-23 12:00:01", NOON + 1), ("2025-11-23T13:00:00+01:00", NOON)],
)
def test_since_a_time(text, at):
    assert log.since(text, NOON) == at


@pytest.mark.parametrize("text", ["x", "10", "-1m", "1.5h", "m", "2025-13-01", "", "٣m", "9" * 400 + "s", "10 m"])
def test_since_is_refused_with_what_is_allowed(text, capsys):
    assert run(["log", "show", "--since", text], FakeClient()) == 2
    assert "is not a time; allowed: 30s, 10m, 2h" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-n 0", "allowed: a whole number from 1 to 10000"),
        ("-n 10001", "'10001' is not accepted"),
        ("-f -o yaml", "--follow goes with -o table, wide, json, not with yaml"),
    ],
)
def test_usage(line, said, capsys):
    assert show(FakeClient(), line) == 2
    assert said in capsys.readouterr().err


# --- following ------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(log, "POLL_S", 0)


def follow(client, line=""):
    return show(client, f"-f {line}")


def test_follow_asks_for_what_comes_after(impatient, capsys):
    client = FakeClient(get_events=Script([event(7)], [], [event(8), event(9, node="longername")], KeyboardInterrupt()))
    assert follow(client, "vnode1 --since 1970-01-02T00:00:00+00:00 -n 3") == 130
    assert [call.get("after") for _, call in client.calls] == [None, 7, 7, 9]
    assert [call["since"] for _, call in client.calls] == [86_400.0, 0.0, 0.0, 0.0]
    assert {call["selection"] for _, call in client.calls} == {"vnode1"}
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["vnode1", "vnode1", "longername"]


def test_follow_keeps_its_start_until_something_happens(impatient):
    client = FakeClient(get_events=Script([], [], [event(8)], KeyboardInterrupt()))
    follow(client, "--since 1970-01-02T00:00:00+00:00")
    assert [(call.get("after"), call["since"]) for _, call in client.calls] == [
        (None, 86_400.0),
        (0, 86_400.0),
        (0, 86_400.0),
        (8, 0.0),
    ]


def test_followed_json_is_an_object_a_line(impatient, capsys):
    follow(FakeClient(get_events=Script([event(1)], [event(2), event(3)], KeyboardInterrupt())), "-o json")
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3]


def test_follow_survives_a_service_that_is_away(impatient, capsys):
    client = FakeClient(get_events=Script([event(1)], Unreachable("away"), [event(2)], KeyboardInterrupt()))
    assert follow(client) == 130
    assert [call.get("after") for _, call in client.calls] == [None, 1, 1, 2]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_follow_gives_up_a_service_that_stays_away(impatient, monkeypatch):
    monkeypatch.setattr(log, "UNREACHABLE_TIMEOUT_S", 0)
    assert follow(FakeClient(get_events=Script([event(1)], Unreachable("away")))) == 6


def test_follow_of_nobody_ends(impatient):
    assert follow(FakeClient(get_events=NotFound("no node 'x'")), "x") == 3


def test_it_is_a_command_of_walt():
    from cli.tree import walt

    assert isinstance(walt.commands["log"], click.Group)
