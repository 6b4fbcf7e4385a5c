"""The attributes of netem that pyroute2 does not know."""

from __future__ import annotations

from types import SimpleNamespace

from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import plugins as tc_plugins
from pyroute2.netlink.rtnl.tcmsg import sched_netem


class _NetemOptions(sched_netem.options):  # type: ignore[misc]
    """The attributes that pyroute2 0.9 knows, and later ones of linux/pkt_sched.h."""

    nla_map = (
        *sched_netem.options.nla_map,
        ("TCA_NETEM_ECN", "uint32"),
        ("TCA_NETEM_RATE64", "uint64"),
        ("TCA_NETEM_PAD", "none"),
        ("TCA_NETEM_LATENCY64", "int64"),
        ("TCA_NETEM_JITTER64", "int64"),
    )


def register() -> None:
    """From now on pyroute2 takes the options that ports/netem.py makes, for all of this process."""
    tc_plugins["netem"] = SimpleNamespace(parent=TC_H_ROOT, options=_NetemOptions)
