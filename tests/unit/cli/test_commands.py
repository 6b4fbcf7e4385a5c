"""Each command: what it asks of `nodes`, what it prints where, and its exit code."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli import tree
from cli.main import main
from cli.tree import run, walt
from cli.ui import wait
from tests.unit.cli import command_lines
from tests.unit.cli.fakes import FakeClient, Script, node, node_view
from walt.contracts.errors import Conflict, Denied, NotFound, Unreachable

ROOT = Path(__file__).parents[3]


def changed(*nodes, notes=()):
    return {"nodes": list(nodes), "notes": list(notes)}


@pytest.mark.parametrize(
    ("line", "method", "arguments"),
    [
        ("node create a b", "create_nodes", {"names": ["a", "b"], "settings": [], "image": None}),
        ("node create a --image small", "create_nodes", {"names": ["a"], "settings": [], "image": "small"}),
        ("node create a -c ram=1G", "create_nodes", {"names": ["a"], "settings": ["ram=1G"], "image": None}),
        (
            "node config a ram=1G x",
            "configure_nodes",
            {"selection": "a", "settings": ["ram=1G", "x"], "force": False},
        ),
        ("device config a ram=1G", "configure_nodes", {"selection": "a", "settings": ["ram=1G"], "force": False}),
        ("node config a b ram", "configure_nodes", {"selection": "a,b", "settings": ["ram"], "force": False}),
        (
            "node config a disks=none --force",
            "configure_nodes",
            {"selection": "a", "settings": ["disks=none"], "force": True},
        ),
        ("node reboot a,b", "reboot_nodes", {"selection": "a,b", "hard": False}),
        ("node reboot a --hard", "reboot_nodes", {"selection": "a", "hard": True}),
        ("node start a", "start_nodes", {"selection": "a"}),
        ("node stop a", "stop_nodes", {"selection": "a", "hard": False}),
        ("node stop a --hard", "stop_nodes", {"selection": "a", "hard": True}),
        ("node rename a b", "rename_node", {"name": "a", "new_name": "b"}),
        ("node remove my-nodes", "remove_nodes", {"selection": "my-nodes", "force": False}),
        ("node remove a --force", "remove_nodes", {"selection": "a", "force": True}),
        ("node acquire a", "acquire_nodes", {"selection": "a", "force": False}),
        ("node acquire a --force", "acquire_nodes", {"selection": "a", "force": True}),
        ("node release a", "release_nodes", {"selection": "a", "force": False}),
        ("node release a --force", "release_nodes", {"selection": "a", "force": True}),
        ("node boot a small", "boot_nodes", {"selection": "a", "image": "small"}),
        ("node create a,b c", "create_nodes", {"names": ["a", "b", "c"], "settings": [], "image": None}),
        ("node stop a b, c", "stop_nodes", {"selection": "a,b,c", "hard": False}),
        (
            "node config a b ram=1G x",
            "configure_nodes",
            {"selection": "a,b", "settings": ["ram=1G", "x"], "force": False},
        ),
    ],
)
def test_orders(line, method, arguments, capsys):
    """One call, and no wait."""
    client = FakeClient(**{method: changed(node("a"), notes=["a note"])})
    assert run(line.split(), client) == 0
    assert client.calls == [(f"nodes.{method}", arguments)]
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"a: .+\na note\n", said.err)


@pytest.mark.parametrize(
    ("line", "selection"), [("", "my-nodes"), ("--all", "all-nodes"), ("a,free-nodes", "a,free-nodes"), ("''", "")]
)
def test_show_asks_for(line, selection, capsys):
    client = FakeClient(get_nodes=[node("a"), node("b", "delaying", "4 s left", owner="")], get_notices=[])
    assert run(["node", "show", *shlex.split(line)], client) == 0
    assert client.calls[0] == ("nodes.get_nodes", {"selection": selection})
    assert len(client.calls) == (2 if selection == "my-nodes" else 1)
    lines = capsys.readouterr().out.splitlines()
    assert "booted 3m" in lines[1]
    assert lines[2].endswith("4 s left")
    assert ("(free)" in lines[2]) == bool(line)


def test_show_json_is_what_the_service_said(capsys):
    client = FakeClient(get_nodes=[node("a", extra=1)], get_notices=[])
    run(["node", "show", "-o", "json"], client)
    assert json.loads(capsys.readouterr().out) == client.answers["get_nodes"]


def test_show_without_nodes_has_no_data(capsys):
    assert run(["node", "show"], FakeClient(get_nodes=[], get_notices=[])) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "no nodes; 'walt node create NAME' makes one, --all shows everybody's\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("node config my-nodes", "no nodes\n"),
        ("node wait my-nodes", "no nodes match\n"),
        ("node stop my-nodes --wait", "no nodes match\n"),
    ],
)
def test_no_node_is_told(line, said, capsys):
    assert run(line.split(), FakeClient(get_nodes=[], stop_nodes=changed())) == 0
    assert capsys.readouterr() == ("", said)


def test_config_json(capsys):
    run(["node", "config", "a", "-o", "json"], FakeClient(get_nodes=[node("a")]))
    assert json.loads(capsys.readouterr().out) == {"a": {"ram": "512M", "cpu.cores": "4"}}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Conflict("one", "two"), 4),
        (NotFound("one", "two"), 3),
        (Denied("one", "two"), 5),
        (Unreachable("one", "two"), 6),
    ],
)
def test_each_fault_is_a_line(error, status, capsys):
    assert run(["node", "show"], FakeClient(get_nodes=error)) == status
    assert capsys.readouterr().err == "walt: one\nwalt: two\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("node show a --all", "exclude each other"),
        ("node config a --force", "--force needs settings"),
        ("node create a --timeout 3", "--timeout needs --wait"),
        ("node wait a --timeout nan", "'nan' is not a number of seconds; allowed: 0 or more"),
        ("node wait a --timeout inf", "'inf' is not a number of seconds"),
        ("node wait a --timeout -1", "'-1' is not a number of seconds"),
        ("node wait a --timeout x", "'x' is not a number of seconds"),
        ("node create", "Missing argument 'NAME...'"),
        ("node show -o xml", "'xml' is not one of 'table', 'wide', 'json', 'yaml', 'csv'"),
        ("node wait a --for running", "'running' is not one of 'stopped', 'delaying', 'loading', 'booting', 'booted'"),
        ("node rebot a", "No such command 'rebot'. (Did you mean one of: 'boot', 'reboot'?)"),
        ("node release a --wiat", "No such option '--wiat'. Did you mean '--wait'?"),
        ("node frobnicate", "No such command 'frobnicate'. Allowed: acquire, boot, config, "),
        ("image show --xyz", "No such option '--xyz'. Allowed: --former, -o, --help"),
        ("node rename a", "Missing argument 'NEW_NAME'"),
        ("node rename a b c", "unexpected extra argument (c)"),
        ("node boot a b c", "(c); several nodes are separated by commas here: vnode1,vnode2"),
        ("node stop a --timeout 3", "--timeout needs --wait"),
        ("completion tcsh", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("completion", "Missing argument 'SHELL'. Choose from: bash, zsh, fish"),
        ("node run a --", "no command"),
        ("node run a", "Missing argument"),
        ("nodes", "No such command 'nodes'"),
        ("node show --al", "No such option"),
    ],
)
def test_usage_is_one_line_and_a_hint(line, said, capsys):
    assert run(line.split(), FakeClient()) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("walt: ")
    assert said in message
    assert hint.endswith("--help' explains it")


def test_interrupt(capsys):
    assert run(["node", "show"], FakeClient(get_nodes=KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "walt: interrupted\n"


@pytest.fixture
def broken(monkeypatch):
    """main() with a defect in it; the handlers that it sets are taken back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(tree, "run", lambda *_: dict[str, int]()["gone"])
    yield main
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_defect_is_one_line(broken, monkeypatch, capsys):
    monkeypatch.delenv("WALT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        broken()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "walt: unexpected KeyError: 'gone' (WALT_DEBUG=1 shows where)\n"


def test_defect_is_shown_on_demand(broken, monkeypatch):
    monkeypatch.setenv("WALT_DEBUG", "1")
    with pytest.raises(KeyError):
        broken()


def test_ctrl_c_outside_of_a_command_is_no_traceback(broken, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        broken()
    assert ended.value.code == 130


def test_nohup_is_obeyed(broken):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with pytest.raises(SystemExit):
        broken()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)


CLOSED = "import sys, cli.main; cli.main._open_standard_files(); print(open('/dev/null').fileno(), file=sys.stderr)"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_number_of_a_closed_standard_file_is_no_other_files(closed):
    """Else what a node prints would go to the broker."""
    words = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, CLOSED]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stderr) == 3
    assert done.stdout == ""


def test_control_characters_of_a_node_do_not_reach_the_terminal(capsys):
    run(["node", "show"], FakeClient(get_nodes=Denied("a\x1b]0;owned\x07")))
    assert "\x1b" not in capsys.readouterr().err


def test_doctor_fails_with_what_is_broken(capsys):
    check = {"subject": "KVM", "status": "fail", "found": "hangs", "consequence": "slow", "fix": "other kernel"}
    assert run(["doctor"], FakeClient(diagnose=[check])) == 1
    assert capsys.readouterr().out == "fail  KVM  hangs\n           slow\n           fix: other kernel\n"


# --- waiting ------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(wait, "PAUSE_S", 0)


def test_wait_follows_until_booted_and_tells_a_failure_once(impatient, capsys):
    failed = [node("a", "failed", "no qemu")]
    client = FakeClient(get_nodes=Script([node("a", "booting")], failed, failed, [node("a")]))
    assert run(["node", "wait", "my-nodes"], client) == 0
    assert capsys.readouterr().err == "a failed: no qemu; still waiting\n"
    assert [arguments["selection"] for _, arguments in client.calls] == ["my-nodes", "a", "a", "a"]


def test_reboot_waits_for_the_state_after_the_order(impatient):
    client = FakeClient(
        reboot_nodes=changed(node("a", "delaying")), get_nodes=Script([node("a", "booting")], [node("a")])
    )
    assert run(["node", "reboot", "my-nodes", "--wait"], client) == 0
    assert [arguments["selection"] for _, arguments in client.calls] == ["my-nodes", "a", "a"]


def test_wait_on_many_nodes_says_what_is_alike_once(impatient, capsys):
    failed = [node(name, "failed", "no qemu") for name in ("a", "b", "c")]
    client = FakeClient(get_nodes=[*failed, node("d", "delaying", "3 s left")])
    assert run(["node", "wait", "my-nodes", "--timeout", "0"], client) == 124
    assert capsys.readouterr().err.splitlines() == [
        "a, b, c failed: no qemu; still waiting",
        "walt: a, b, c are not booted after 0 s: failed (no qemu)",
        "walt: d is not booted after 0 s: delaying (3 s left)",
    ]


def test_wait_for_another_state(impatient, capsys):
    client = FakeClient(get_nodes=Script([node("a")], [node("a", "stopped")]))
    assert run(["node", "wait", "a", "--for", "stopped"], client) == 0
    assert run(["node", "wait", "a", "--for", "booted", "--timeout", "0"], client) == 124
    assert capsys.readouterr().err == "walt: a is not booted after 0 s: stopped\n"


@pytest.mark.parametrize("order", ["start", "acquire", "release", "boot"])
def test_orders_that_boot_wait_until_booted(impatient, order):
    image = ["small"] if order == "boot" else []
    client = FakeClient(
        **{f"{order}_nodes": changed(node("a", "delaying"))}, get_nodes=Script([node("a", "stopped")], [node("a")])
    )
    assert run(["node", order, "a", *image, "--wait"], client) == 0
    assert [method for method, _ in client.calls] == [f"nodes.{order}_nodes", "nodes.wait_nodes", "nodes.wait_nodes"]


def test_stop_waits_for_stopped(impatient):
    client = FakeClient(stop_nodes=changed(node("a")), get_nodes=Script([node("a")], [node("a", "stopped")]))
    assert run(["node", "stop", "a", "--wait"], client) == 0
    assert len(client.calls) == 3


def test_wait_survives_a_service_that_is_away(impatient):
    client = FakeClient(get_nodes=Script([node("a", "booting")], Unreachable("away"), [node("a")]))
    assert run(["node", "wait", "a"], client) == 0


def test_wait_gives_up_a_service_that_stays_away(impatient, monkeypatch):
    monkeypatch.setattr(wait, "UNREACHABLE_TIMEOUT_S", 0)
    client = FakeClient(get_nodes=Script([node("a", "booting")], Unreachable("away")))
    assert run(["node", "wait", "a"], client) == 6


def test_wait_time_out(impatient, capsys):
    client = FakeClient(get_nodes=[node("a"), node("b", "delaying", "3 s left")])
    assert run(["node", "wait", "a,b", "--timeout", "0"], client) == 124
    assert capsys.readouterr().err == "walt: b is not booted after 0 s: delaying (3 s left)\n"


def test_progress():
    watch = wait.Watch(
        [
            node_view("a"),
            node_view("b", state="delaying", reason="3 s left", since=100.0),
            node_view("c", state="booting", since=50.0),
        ]
    )
    assert watch.progress(170.0) == "b delaying 1m (3 s left), c booting 2m"


def test_fault_b34_a_silent_node_is_told_and_waited_for():
    silent = node_view("a", reason="it does not answer", cause="no-answer", since=50.0)
    watch = wait.Watch([silent])
    assert watch.update([silent]) == ["a booted: it does not answer; still waiting"]
    assert watch.update([silent]) == []
    assert watch.progress(170.0) == "a booted, does not answer 2m (it does not answer)"
    watch.update([node_view("a", reason="it answers again", cause="ssh-answers")])
    assert not watch.missing


# --- the whole ----------------------------------------------------------------------------------------------


def all_commands(group=walt, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in all_commands()])
def test_help_everywhere(path, capsys):
    assert run([*path, "--help"], FakeClient()) == 0
    assert capsys.readouterr().out.startswith(f"Usage: walt {' '.join(path)} ")


@pytest.mark.parametrize("path", [(), *(path for path, one in all_commands() if isinstance(one, click.Group))])
def test_lists_of_commands_are_whole_on_a_usual_terminal(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run([*path, "--help"], FakeClient())
    assert not [line for line in capsys.readouterr().out.splitlines()[1:] if line.endswith("...")]


def documented():
    text = (ROOT / "docs/cli.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", documented())
def test_documented_command_lines_exist(line):
    command_lines.check(line)


def test_every_command_is_documented():
    text = "\n".join(documented())
    for path, command in all_commands():
        if not isinstance(command, click.Group):
            assert f"walt {' '.join(path)}" in text


def test_nothing_slow_is_imported_before_a_call():
    code = "import sys, cli.main, cli.tree, cli.sessions.interactive; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    slow = {"kombu", "amqp", "nameko", "eventlet", "marshmallow", "docker", "yaml", "importlib.metadata"}
    assert not slow & set(loaded.split())
