"""Schedules: from words to the moments of each link, and to the traces that links follow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walt.contracts import schedules, traces
from walt.contracts.links import MAX_RATE_BPS, Direction, LinkModel
from walt.contracts.traces import Trace
from walt.contracts.units import LATENCY_RULE, Faults

S = 1_000_000
BASE = LinkModel(up=Direction(50_000, loss_ppm=1_000, burst_frames=4))
RULE = "at=TIME [every=TIME until=TIME] lat|bw|loss[.up|.down]=VALUE …, as at=10s lat=80ms at=20s lat=10ms"


def compiled(text, base=BASE):
    return schedules.compiled(base, schedules.parse(text.split()))


def test_an_option_that_is_not_named_stays_as_it_is_then():
    found = compiled("at=10s lat=80ms loss=1% at=20s lat=20ms at=30s bw=1Mbps")
    assert found == {
        "up": Trace((10 * S, 10 * S, 10 * S, S), latency_us=(0, 30_000, -30_000, -30_000),
                    loss_ppm=(1_000, 10_000, 10_000, 10_000), rate_bps=(MAX_RATE_BPS,) * 3 + (S,)),
        "down": Trace((10 * S, 10 * S, 10 * S, S), rate_bps=(MAX_RATE_BPS,) * 3 + (S,)),
    }  # fmt: skip


def test_again_and_again_in_the_order_of_time():
    (change, other) = schedules.parse(
        ["at=0", "every=10s", "until=25s", "loss=100%", "at=2s", "every=10s", "until=25s", "loss=0%"]
    )
    assert [*change.moments_us, *other.moments_us] == [0, 10 * S, 20 * S, 2 * S, 12 * S, 22 * S]
    found = compiled("at=0 every=10s until=25s loss=100% at=2s every=10s until=25s loss=0%", LinkModel())["up"]
    assert (found.keep_us, found.loss_ppm) == ((2 * S, 8 * S, 2 * S, 8 * S, 2 * S, S), (S, 0, S, 0, S, 0))


def test_at_the_same_moment_the_last_word_counts():
    assert compiled("at=1s lat=60ms at=1s lat=70ms")["up"].latency_us == (0, 20_000)


@pytest.mark.parametrize(
    "words, told",
    [
        ("", [f"no change is given; allowed: {RULE}"]),
        ("lat=1ms at=1s", [f"'lat=1ms' is before the first at=; allowed: {RULE}"]),
        ("at=1s", [f"nothing changes at=1s; allowed: {RULE}"]),
        ("at=1s jitter=1ms carrier=down", [
            "'jitter=1ms' cannot be scheduled; allowed: lat, bw, loss, also with .up or .down",
            "'carrier=down' cannot be scheduled; allowed: lat, bw, loss, also with .up or .down",
        ]),
        ("at=soon lat=1ms at=1s lat=1", [
            f"'at=soon' is not a time; allowed: {LATENCY_RULE}, less than a day",
            f"'lat=1' is not an option of a link; allowed: {LATENCY_RULE}",
        ]),
        ("at=1s every=1s lat=1ms", [
            "at=1s every=1s: every and until go together; allowed: every=5s until=60s, or neither"
        ]),
        ("at=9s every=1s until=8s lat=1ms", [
            "at=9s every=1s until=8s is never; allowed: an every above 0, and an until that is not before at"
        ]),
        ("at=1s every=0 until=8s lat=1ms", [
            "at=1s every=0 until=8s is never; allowed: an every above 0, and an until that is not before at"
        ]),
        ("at=1s every=1s every=2s until=9s lat=1ms", ["every= is given twice for at=1s; allowed: once"]),
        ("at=0 every=1us until=1s lat=1ms", ["1000001 changes of one link are too many; allowed: at most 10000"]),
    ],
)  # fmt: skip
def test_faults(words, told):
    with pytest.raises(Faults) as found:
        schedules.parse(words.split())
    assert list(found.value.args) == told


def test_what_contradicts_the_link_is_told_with_its_moment():
    with pytest.raises(Faults, match=r"^at 5s: up: jitter=10ms exceeds lat=5ms; allowed: a jitter of at most lat$"):
        compiled("at=5s lat=5ms", LinkModel(up=Direction(20_000, jitter_us=10_000)))
    with pytest.raises(Faults, match=r"^at 5s: up: burst=4 has no loss"):
        compiled("at=5s loss=0%")


@given(
    st.lists(
        st.sampled_from(["at=0", "at=1s", "at=2ms", "every=1s", "until=9s", "lat=1ms", "bw.down=1kbps", "loss=1%", "x"])
    )
)
def test_no_words_break_it(words):  # fmt: skip
    try:
        found = schedules.compiled(LinkModel(), schedules.parse(words))
    except Faults:
        return
    assert all(traces.read(traces.write(one)) == one for one in found.values())
