import pytest

from deploy.local import demo

PING = """\
20 packets transmitted, 20 received, 0% packet loss, time 5730ms
rtt min/avg/max/mdev = 19.662/20.100/20.686/0.010 ms
"""
BUSYBOX_PING = "round-trip min/avg/max = 19.6/19.9/20.6 ms\n"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (PING, "round trip: asked 20.0 ms, measured 20.10 ms (error +0.5 %)"),
        (BUSYBOX_PING, "round trip: asked 20.0 ms, measured 19.90 ms (error -0.5 %)"),
    ],
)
def test_the_closing_line_compares_asked_and_measured(printed: str, line: str) -> None:
    assert demo.verdict(printed) == line


def test_no_round_trip_is_no_verdict() -> None:
    with pytest.raises(SystemExit, match="printed no round-trip"):
        demo.verdict("20 packets transmitted, 0 received, 100% packet loss\n")


@pytest.mark.parametrize(
    ("argument", "as_typed"),
    [("networks=walt-net,home-net[lat=10ms]", "networks=walt-net,home-net[lat=10ms]"), ("a b", "'a b'"), ("*", "'*'")],
)
def test_arguments_are_printed_as_a_person_types_them(argument: str, as_typed: str) -> None:
    assert demo.typed(argument) == as_typed
