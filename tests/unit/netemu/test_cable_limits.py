"""What is told of owners whose links the cable limits."""

import logging
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from services.netemu.metrics import PortCollector
from services.netemu.ports.cable_limits import LATELY_S, LimitLog
from services.netemu.ports.traffic import CableShare, CableState
from tests.unit.netemu.test_health import found
from tests.unit.netemu.test_traffic import readings
from walt.contracts.netemu import CABLE

LIMITED = CableShare("alice", 1000, 12, 3.14, 1.0)
NEVER = CableShare("bob", 1000, 0, 0.0, None)
LONG_AGO = CableShare("carol", 0, 7, 1.0, LATELY_S)


def cable(*shares):
    return CableState(1, True, 55.0, {}, {}, {}, {}, shares={one.owner: one for one in shares})


def test_doctor_names_who_is_limited_now():
    told = found(CABLE, cable=cable(LIMITED, NEVER, LONG_AGO))["shares of the cable"]
    assert (told.status, told.found) == ("warn", "used up by alice (12 frames lost, 3.1 s of waiting)")
    assert "shares of the cable" not in found(CABLE, cable=cable(NEVER, LONG_AGO))
    assert "shares of the cable" not in found(CABLE)


def test_prometheus_counts_for_each_owner():
    registry = CollectorRegistry()
    collected = readings(CABLE, cable=cable(LIMITED, NEVER))
    registry.register(PortCollector(SimpleNamespace(readings=lambda: collected, shaper=CABLE), dict))
    value = registry.get_sample_value
    assert value("walt_cable_owner_dropped_frames_total", {"owner": "alice"}) == 12
    assert value("walt_cable_owner_held_seconds_total", {"owner": "alice"}) == 3.14
    assert value("walt_cable_owner_dropped_frames_total", {"owner": "bob"}) == 0


def test_the_log_tells_it_once_and_what_it_amounted_to(caplog):
    caplog.set_level(logging.INFO)
    log = LimitLog()
    for shares in ([], [NEVER], [LIMITED], [LIMITED], [LONG_AGO]):
        log.tell(shares)
    assert caplog.messages == [
        "the links of alice are limited to his share of the cable",
        "links are not limited any more: alice (12 frames lost, 3.1 s of waiting)",
    ]
