"""Files of traces: what each format says, and how each fault of a file is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.traces import ours
from walt import trace_formats
from walt.contracts import traces
from walt.contracts.traces import MAX_ROWS, Trace
from walt.contracts.units import Faults
from walt.trace_formats import CSV, FORMATS, MAHIMAHI, THEATERQ, parse

ROWS = "at,bw,lat,loss\n0s,20Mbps,30ms,0%\n1500ms,0,45ms,0.5%\n2s,,,\n"


def faults(text, kind):
    with pytest.raises(Faults) as found:
        parse(text, kind, loops=True)
    return list(found.value.args)


def test_csv():
    wanted = Trace((1_500_000, 500_000), (20_000_000, 0), (30_000, 45_000), (0, 5_000))
    assert parse(ROWS, CSV, loops=True) == wanted
    assert parse(ROWS.replace("\n", "\r\n").replace(",", ", "), CSV, loops=True) == wanted


def test_mahimahi():
    """3000 bytes at 2 ms, 1500 at 5 ms, which is the start of the next run."""
    assert parse("2\n2\n5\n", MAHIMAHI, loops=True) == Trace((2_000, 3_000), pass_bytes=(1500, 3000))
    assert parse("2\n2\n5\n", MAHIMAHI, loops=False) == Trace((2_000, 3_000, 1_000), pass_bytes=(0, 3000, 1500))


def test_theaterq_in_both_forms():
    simple = "# a comment\n1000,20000000,8000000,0,100\n500,1500,-1,2147483648,100\n"
    wanted = Trace((1_000, 500), (8_000_000, 100_000_000_000), (20_000, 2), (0, 500_000))
    assert parse(simple, THEATERQ, loops=True) == wanted
    extended = "1000,20000000,7,8000000,0,100,0,0,1,1\n500,1500,7,-1,2147483648,100,0,0,1,1\n"
    assert parse(extended, THEATERQ, loops=True) == wanted
    assert parse("1000,20000000,-1,0,100", THEATERQ, loops=True) == Trace((1_000,), latency_us=(20_000,))


WHOLE_MS = "'{}' is not a whole number of milliseconds; allowed: a whole number from 0 to 86400000"


@pytest.mark.parametrize(
    "kind, text, told",
    [
        (MAHIMAHI, "1\nx\n\n3\n", ["line 2: " + WHOLE_MS.format("x"), "line 3: " + WHOLE_MS.format("")]),
        (MAHIMAHI, "5\n4\n", ["line 2: '4' is below the line before; allowed: 5 or more"]),
        (MAHIMAHI, "0\n0\n", ["line 2: '0' ends the trace at its start; allowed: a last line above 0"]),
        (MAHIMAHI, "-1\n", ["line 1: " + WHOLE_MS.format("-1")]),
        (
            THEATERQ,
            "1,2,3\n0,1,1,0,1\n",
            [
                "line 1: '1,2,3' is not a row; allowed: 5 or 10 numbers with commas between them",
                "line 2: '0' is not KEEP, in us; allowed: a whole number from 1 to 86400000000",
            ],
        ),
        (
            THEATERQ,
            "1,2,x,0,1\n1,2,3,4294967296,1\n",
            [
                "line 1: 'x' is not RATE, in bit/s, or -1; allowed: a whole number from 0 to 100000000000",
                "line 2: '4294967296' is not LOSS; allowed: a whole number from 0 to 4294967295",
            ],
        ),
        (THEATERQ, "keep\n", ["no line begins with a number; allowed: KEEP,LATENCY,RATE,LOSS,LIMIT"]),
        (
            CSV,
            "at,bw,speed\n0s,1Mbps,2\n1s,,\n",
            [
                "line 1: 'at,bw,speed' does not name the columns; allowed: at, then one or more of bw, lat, loss, each "
                "once, with commas between them"
            ],
        ),
        (
            CSV,
            "at,bw,loss\n0s,1,101%\n1s,2kbps\n2s,,\n",
            [
                "line 2: '1' is not a value of bw; allowed: 0, or a number above 0 with kbps, Mbps or Gbps (512kbps, "
                "100Mbps, 1.5Gbps)",
                "line 3: '1s,2kbps' is not a row; allowed: a value for each of at, bw, loss",
            ],
        ),
        (CSV, "at,bw\n1s,1Mbps\n2s,\n", ["line 2: a trace does not begin there; allowed: 0s in its first row"]),
        (CSV, "at,bw\n0s,1Mbps\n0s,\n", ["line 3: it is not after the line before; allowed: more than 0 us"]),
        (CSV, "at,bw\n0s,1Mbps\n5s,2Mbps",
         ["line 3: '5s,2Mbps' does not end the trace; allowed: its time alone ('5s,')"]),
        (CSV, "at,bw\n0s,1Mbps\n", ["line 2: the trace has no row and no end; allowed: a line for each"]),
        (CSV, "at,bw\n0s,0\n1s,\n",
         ["it lets nothing pass in all its length; allowed: a rate above 0 in one row at least"]),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_line_and_what_is_allowed(kind, text, told):
    assert faults(text, kind) == told


def test_a_file_full_of_faults_is_told_in_a_screen():
    assert len(faults("x\n" * 1000, MAHIMAHI)) == trace_formats.MAX_FAULTS


def test_too_many_rows():
    text = "".join(f"{one}\n" for one in range(1, MAX_ROWS + 3))
    assert faults(text, MAHIMAHI) == [f"a trace of {MAX_ROWS + 2} rows; allowed: 1 to {MAX_ROWS} (cut it into parts)"]


@given(st.sampled_from(FORMATS), st.text() | st.from_regex(r"\A(at,bw\n)?([0-9]{1,20}(ms|s)?,?[0-9x-]{0,5}\n){0,6}\Z"))
def test_no_file_breaks_a_parser(kind, text):
    try:
        trace = parse(text, kind, loops=True)
    except Faults:
        return
    assert traces.read(traces.write(trace)) == trace


@given(st.text() | st.from_regex(r"\A(keep_us rate_bps\n)([0-9]{1,14} [0-9-]{1,13}\n){0,5}\Z"))
def test_what_crosses_the_bus_is_checked_again(text):
    try:
        trace = traces.read(text)
    except Faults:
        return
    assert traces.read(traces.write(trace)) == trace


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "line 1: '' does not name the columns of a trace; allowed: keep_us, then one or more of rate_bps, "
             "latency_us, loss_ppm, pass_bytes, each once"),
        ("keep_us rate_bps\n", "a trace of 0 rows; allowed: 1 to 100000 (cut it into parts)"),
        ("keep_us rate_bps\n1 2 3\n", "line 2: '1 2 3' is not a row; allowed: 2 whole numbers"),
        ("keep_us rate_bps\n0 2\n", "line 2: keep_us 0 is out of range; allowed: 1 to 86400000000"),
        ("keep_us loss_ppm\n1 2\n1 1000001\n", "line 3: loss_ppm 1000001 is out of range; allowed: 0 to 1000000"),
        ("keep_us rate_bps pass_bytes\n1 2 3\n", "it has rate_bps and pass_bytes; allowed: one of them"),
        ("keep_us loss_ppm\n" + "86400000000 1\n" * 2, "it is 172800 s long; allowed: a day at most"),
        ("x" * 1_500_001, "a trace of 1500001 characters; allowed: 1500000 (cut it into parts)"),
    ],
)  # fmt: skip
def test_faults_of_what_crosses_the_bus(text, told):
    with pytest.raises(Faults) as found:
        traces.read(text)
    assert str(found.value) == told


def test_traces_that_come_along():
    assert sorted(ours()) == ["handover", "sawtooth", "steps"]
    found = {name: parse(path.read_text(), CSV, loops=True) for name, path in ours().items()}
    assert {name: one.length_us // 10**6 for name, one in found.items()} == {
        "handover": 60,
        "sawtooth": 20,
        "steps": 60,
    }
    starts = [sum(found["handover"].keep_us[:row]) for row in range(len(found["handover"].keep_us))]
    outages = [at for at, rate in zip(starts, found["handover"].rate_bps, strict=True) if not rate]
    assert outages == [0, 15_000_000, 30_000_000, 45_000_000]
