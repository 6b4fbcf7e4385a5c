"""Quantities by hand: what each text means, how each value is shown, what is refused."""

import pytest

from walt.contracts import links, units
from walt.contracts.links import Direction, LinkModel


@pytest.mark.parametrize(
    ("text", "latency_us"),
    [
        ("10ms", 10_000),
        ("10.15ms", 10_150),
        ("10150us", 10_150),
        ("2s", 2_000_000),
        ("0us", 0),
        ("0.001ms", 1),
        ("1MS", 1_000),
    ],
)
def test_latency(text: str, latency_us: int) -> None:
    assert units.parse_latency_us(text) == latency_us


@pytest.mark.parametrize(
    "text", ["", "10", "ms", "10 ms", "-1ms", "1e3ms", "1,5ms", ".5ms", "10m", "0.5us", "٣ms", "9" * 21 + "s"]
)
def test_not_a_latency(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        units.parse_latency_us(text)
    assert str(refused.value) == units.LATENCY_RULE


@pytest.mark.parametrize(
    ("latency_us", "text"),
    [(0, "0us"), (999, "999us"), (1_000, "1ms"), (10_150, "10.15ms"), (100_000, "100ms"), (2_500_000, "2.5s")],
)
def test_latency_shown(latency_us: int, text: str) -> None:
    assert units.format_latency(latency_us) == text


@pytest.mark.parametrize(
    ("text", "rate_bps"),
    [("512kbps", 512_000), ("100Mbps", 10**8), ("100mbps", 10**8), ("1.5Gbps", 1_500_000_000), ("0.001kbps", 1)],
)
def test_rate(text: str, rate_bps: int) -> None:
    assert units.parse_rate_bps(text) == rate_bps


@pytest.mark.parametrize("text", ["", "100", "0Mbps", "100M", "100MB", "100Mbit", "1bps", "-1Mbps", "0.0001kbps"])
def test_not_a_rate(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        units.parse_rate_bps(text)
    assert str(refused.value) == units.RATE_RULE


@pytest.mark.parametrize(
    ("rate_bps", "text"), [(999, "0.999kbps"), (1_000, "1kbps"), (10**8, "100Mbps"), (1_500_000_000, "1.5Gbps")]
)
def test_rate_shown(rate_bps: int, text: str) -> None:
    assert units.format_rate(rate_bps) == text


@pytest.mark.parametrize(("text", "memory_bytes"), [("512M", 512 * 2**20), ("2G", 2 * 2**30), ("0M", 0)])
def test_memory(text: str, memory_bytes: int) -> None:
    assert units.parse_memory_bytes(text) == memory_bytes


@pytest.mark.parametrize("text", ["", "M", "512", "1.5G", "512m", "512MB", "1T", "-1M", "1 G", "9" * 19 + "M"])
def test_not_memory(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        units.parse_memory_bytes(text)
    assert str(refused.value) == units.MEMORY_RULE


@pytest.mark.parametrize(("memory_bytes", "text"), [(512 * 2**20, "512M"), (2**30, "1G"), (1536 * 2**20, "1536M")])
def test_memory_shown(memory_bytes: int, text: str) -> None:
    assert units.format_memory(memory_bytes) == text


@pytest.mark.parametrize("text", ["", "+1", "-1", "1.0", " 1", "1_000", "٣", "9" * 19])
def test_not_a_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number"):
        units.parse_whole(text)


@pytest.mark.parametrize(
    ("word", "text", "link"),
    [
        ("lat", "10ms", LinkModel(up=Direction(latency_us=10_000))),
        ("lat.down", "5ms", LinkModel(down=Direction(latency_us=5_000))),
        ("bw", "1Mbps", LinkModel(Direction(rate_bps=10**6), Direction(rate_bps=10**6))),
        ("bw.up", "1Mbps", LinkModel(up=Direction(rate_bps=10**6))),
        ("carrier", "down", LinkModel(no_carrier=True)),
    ],
)
def test_link_option(word: str, text: str, link: LinkModel) -> None:
    assert links.with_change(LinkModel(), links.parse_option(word, text)) == link
    assert links.format_link(link) == f"{word}={text}"


@pytest.mark.parametrize(
    ("word", "text", "allowed"),
    [
        ("latency", "10ms", links.LINK_RULE),
        ("lat.", "10ms", links.LINK_RULE),
        ("lat.left", "10ms", links.LINK_RULE),
        ("lat", "61s", "0us to 60s"),
        ("bw", "999Gbps", "1kbps to 100Gbps"),
        ("bw", "0.5kbps", "1kbps to 100Gbps"),
        ("carrier", "off", "up, down"),
        ("carrier.up", "down", "carrier=, without .up or .down"),
    ],
)
def test_no_link_option(word: str, text: str, allowed: str) -> None:
    with pytest.raises(ValueError) as refused:
        links.parse_option(word, text)
    assert str(refused.value) == allowed


def test_carrier_is_none_of_the_frames() -> None:
    link = links.parse_options(LinkModel(), ["lat=10ms", "carrier=down"])
    assert (link.of_frames, link.no_carrier) == (LinkModel(up=Direction(latency_us=10_000)), True)
    assert not LinkModel(no_carrier=True).shapes
    assert links.parse_options(link, ["carrier=up"]) == link.of_frames


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_000, "5 kB"), (999_600, "1 MB"), (1_234_567_890, "1.23 GB")],
)
def test_size_is_rounded(size_bytes, text):
    assert units.format_size(size_bytes) == text
