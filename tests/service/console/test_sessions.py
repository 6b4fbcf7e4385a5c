"""Sessions as a whole: how long they live, and what is counted of them."""

from tests.service.console.world import HASTY_CONSOLE, ConsoleProcess, is_alive
from tests.support.wait import wait_until


def test_a_session_that_is_not_kept_is_closed(env, peers, folder, ssh, user):
    process = ConsoleProcess(env, folder / "hasty.log", ("-c", HASTY_CONSOLE))
    try:
        process.wait_until_ready()
        kept, lost = user(), user()
        lost.open("open_shell", node="vnode1", command=["sleep 300"])
        wait_until(ssh.exists)
        pid = int(ssh.read_text().split()[1])
        kept.open("open_shell", node="vnode1", command=["sleep 300"])
        wait_until(lambda: kept.has_session() and not is_alive(pid))
        assert kept.has_session() and not lost.has_session()
    finally:
        process.end()


def test_metrics_count_bytes_sessions_and_lines(power_on, service, user):
    power_on().print(b"x" * 1000)
    viewer = user()
    viewer.open("open_line", node="vnode1")
    viewer.wait(lambda: viewer.received_bytes == 1000)
    values = service.metrics()
    assert values['walt_console_bytes_total{direction="out"}'] >= 1000
    assert values['walt_console_sessions{kind="viewer"}'] >= 1
    assert values["walt_console_lines"] == 1
    assert values['walt_entrypoint_calls_total{entrypoint="open_line"}'] >= 1
