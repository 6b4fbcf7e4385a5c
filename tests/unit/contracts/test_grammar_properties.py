"""Properties of the grammars: no text breaks a parser, and what is shown parses back to what it was."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walt.contracts import disks, links, names, settings, trace_names, units
from walt.contracts.disks import DiskUse
from walt.contracts.errors import InvalidRequest
from walt.contracts.links import Direction, LinkModel
from walt.contracts.network_uses import NetworkUse
from walt.contracts.settings import NodeConfig

latencies = st.integers(0, links.MAX_LATENCY_US)
rates = st.one_of(st.just(0), st.integers(links.MIN_RATE_BPS, links.MAX_RATE_BPS))
shares = st.integers(0, links.MAX_SHARE_PPM)
traces = st.from_regex(r"\A[a-z][a-z0-9-]{0,15}\Z").map(trace_names.parse)


@st.composite
def _directions(draw):
    """Those whose values go together."""
    latency_us = draw(latencies)
    distribution = draw(st.sampled_from(links.Distribution))
    jitter_us = draw(st.integers(0, int(latency_us / links.JITTER_REACH[distribution])))
    loss_ppm = draw(shares)
    any_burst = loss_ppm <= links.MAX_SHARE_PPM // 2  # a burst of any length goes with it
    return Direction(
        latency_us=latency_us,
        jitter_us=min(jitter_us, links.MAX_LATENCY_US),
        distribution=distribution if jitter_us else links.Distribution.UNIFORM,
        rate_bps=draw(rates),
        loss_ppm=loss_ppm,
        burst_frames=draw(st.integers(0, links.MAX_BURST_FRAMES)) if loss_ppm and any_burst else 0,
        duplicate_ppm=draw(shares),
        corrupt_ppm=draw(shares),
        reorder_ppm=draw(shares) if latency_us else 0,
        limit_frames=draw(st.integers(0, links.MAX_LIMIT_FRAMES)),
        seed=draw(st.integers(0, links.MAX_SEED)),
        trace=draw(traces),
    )


directions = _directions()
link_models = st.builds(LinkModel, up=directions, down=directions, no_carrier=st.booleans())
network_names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,31}\Z").filter(lambda name: name != names.WALT_NET)
addresses = st.one_of(
    st.sampled_from(["", "none", "10.1.2.0/24", "fd01::/64"]),
    st.integers(1, 2**24 - 2).map(lambda number: f"{ipaddress.IPv4Address(0x0A000000 + number)}/8"),
    st.ip_addresses(v=6, network="fd00::/8").map(lambda one: f"{one}/64"),
)
uses = st.lists(
    st.builds(NetworkUse, network_names, link_models, addresses), max_size=6, unique_by=lambda use: use.name
)
networks = uses.map(lambda others: (NetworkUse(names.WALT_NET), *others))
templates = st.sampled_from(sorted(disks.TEMPLATES)).map(disks.TEMPLATES.get)
disk_uses = templates.flatmap(
    lambda one: st.builds(
        DiskUse,
        st.integers(one.smallest // 10**6, one.largest // 10**6).map(lambda megabytes: megabytes * 10**6),
        st.just(one.name),
    )
)
delays = st.none() | st.integers(0, 30)
configs = st.builds(
    NodeConfig,
    cpu_cores=st.integers(1, settings.MAX_CPU_CORES),
    ram_bytes=st.integers(64, 2**30).map(lambda mebibytes: mebibytes * 2**20),
    boot_delay_s=delays,
    boot_timeout_s=st.none() | st.integers(60, settings.MAX_SECONDS),
    boot_retries=st.integers(0, settings.MAX_BOOT_RETRIES),
    disks=st.lists(disk_uses, max_size=disks.MAX_DISKS).map(tuple),
    networks=networks,
    persist_bytes=st.integers(disks.MIN_PERSIST_BYTES // 10**6, 10**6).map(lambda megabytes: megabytes * 10**6),
    netsetup=st.sampled_from(settings.NETSETUPS),
)
words = st.sampled_from(
    [
        "walt-net",
        "home",
        "[",
        "]",
        ",",
        "=",
        "lat",
        "bw",
        ".up",
        ".",
        "10ms",
        "1e9",
        "٣",
        "random",
        "ram=",
        "networks=",
        "disks=",
        "256M",
        "template=",
        "ext4",
        "loss",
        "0.1%",
        "9" * 30,
    ]
)
texts = st.text() | st.lists(words, max_size=8).map("".join)


@given(configs)
def test_what_is_shown_parses_back(config):
    shown = [f"{name}={text}" for name, text in settings.show_settings(config).items()]
    assert settings.apply_settings(NodeConfig(), settings.parse_settings(shown)) == config


@given(link_models)
def test_link_parses_back(link):
    assert links.parse_options(LinkModel(), filter(None, links.format_link(link).split(","))) == link


@given(
    st.lists(st.one_of(texts, st.builds("{}={}".format, st.sampled_from(sorted(settings.SETTINGS)), texts)), max_size=4)
)
def test_no_text_breaks_the_settings_parser(given_texts):
    try:
        settings.apply_settings(NodeConfig(), settings.parse_settings(given_texts))
    except InvalidRequest as refused:
        assert refused.args and all(isinstance(sentence, str) for sentence in refused.args)


@given(texts)
@pytest.mark.parametrize("parse", [names.check_node_name, names.split_selection])
def test_no_text_breaks_the_name_parsers(parse, text):
    try:
        parse(text)
    except InvalidRequest as refused:
        assert text in str(refused)


@given(latencies)
def test_latency_parses_back(latency_us):
    assert units.parse_latency_us(units.format_latency(latency_us)) == latency_us


@given(st.integers(1, links.MAX_RATE_BPS))
def test_rate_parses_back(rate_bps):
    text = units.format_rate(rate_bps)
    assert units.parse_rate_bps(text) == rate_bps


@given(shares)
def test_share_parses_back(share_ppm):
    assert units.parse_share_ppm(units.format_share(share_ppm)) == share_ppm


@given(texts)
@pytest.mark.parametrize("parse", [units.parse_disk_bytes, units.parse_share_ppm, units.parse_latency_us])
def test_no_text_breaks_the_quantity_parsers(parse, text):
    try:
        assert parse(text) >= 0
    except ValueError as allowed:
        assert str(allowed) in (units.DISK_RULE, units.SHARE_RULE, units.LATENCY_RULE)
