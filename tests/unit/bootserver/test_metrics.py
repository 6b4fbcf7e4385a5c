"""Metrics of bootserver."""

from prometheus_client import CollectorRegistry

from services.bootserver.metrics import BootCollector


def test_the_last_boot_of_a_node_has_its_present_name():
    names, faults = {1: "vnode1", 2: "vnode2"}, {"disks": "", "dns": "timed out", "ntp": ""}
    registry = CollectorRegistry()
    boots = {1: 9.5, 3: 7.0}  # node 3 is being removed, node 2 has not booted
    registry.register(
        BootCollector(
            lambda: names,
            lambda: boots,
            lambda: faults["disks"],
            lambda: faults["dns"],
            lambda: faults["ntp"],
            lambda: 4,
        )
    )
    value = registry.get_sample_value
    assert (value("walt_machine_disks_up"), value("walt_dns_up"), value("walt_images")) == (1, 0, 4)
    assert value("walt_ntp_up") == 1
    names[1], faults["dns"], faults["ntp"] = "renamed", "", "timed out"
    (last,) = (metric for metric in registry.collect() if metric.name == "walt_node_boot_seconds")
    assert [(sample.labels, sample.value) for sample in last.samples] == [({"node": "renamed"}, 9.5)]
    assert (value("walt_dns_up"), value("walt_ntp_up")) == (1, 0)
