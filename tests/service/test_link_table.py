"""What netemu knows of the interfaces is what the kernel has, after each change, without all of them being read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("as_root")

HEADER = """
import dataclasses, json, subprocess
from services.netemu.kernel import link_table
from services.netemu.kernel.link_table import LinkTable
from services.netemu.kernel.netlink import Netlink
whole = []
read_all = LinkTable._read_all
LinkTable._read_all = lambda table: (whole.append(1), read_all(table))
def seen(table):
    return sorted(map(dataclasses.astuple, table.read()))
def of_kernel():
    table = LinkTable()
    try:
        return seen(table)
    finally:
        table.close()
        whole.pop()
def ip(*words):
    subprocess.run(["ip", *" ".join(words).split()], check=True)
"""


def inside(code: str) -> list[Any]:
    """What the code prints, one JSON value a line, in a network namespace of its own."""
    argv = ["unshare", "--net", sys.executable, "-c", HEADER + textwrap.dedent(code)]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_change_is_known_when_it_is_made():
    steps = [
        "link add name b1 type bridge",
        "link set b1 alias walt-x up",
        "tuntap add t1 mode tap",
        "link set t1 group 17 master b1",
        "link set t1 type bridge_slave group_fwd_mask 8",
        "link set t1 alias walt-down",
        "link set t1 group 18",
        "link set t1 up",
        "link set t1 alias walt-up",
        "link set t1 group 19",
        "link set b1 name b2",
        "link add name v1 type veth peer name v2",
        "link set v1 address 02:00:00:00:00:09",
        "link del v1",
        "link set t1 nomaster",
        "link del b2",
    ]
    found = inside(f"""
        table = LinkTable()
        table.read()
        for step in {steps!r}:
            ip(step)
            print(json.dumps(seen(table) == of_kernel()))
        print(json.dumps(len(whole)))
    """)
    assert found == [True] * len(steps) + [1], "and all was read once"


def test_what_netemu_sets_itself_is_seen_as_before():
    found = inside("""
        kernel = Netlink()
        kernel.make_bridge("net5", "walt network 5 home-net alice")
        kernel.make_tap("vn1e2", "walt port", mtu=1500)
        kernel.set_bridge("vn1e2", "net5")
        one = {link.name: link for link in kernel.interfaces()}
        print(json.dumps([one["net5"].kind, one["net5"].alias, one["net5"].is_up]))
        print(json.dumps([one["vn1e2"].master, one["vn1e2"].group, one["vn1e2"].kind]))
        print(json.dumps([one["net5"].forwards_group_addresses, one["vn1e2"].forwards_group_addresses]))
        print(json.dumps(one["net5"].learns_few_addresses))
        kernel.remove("vn1e2")
        kernel.remove("vn1e2")
        print(json.dumps(sorted(link.name for link in kernel.interfaces())))
    """)
    assert found[:2] == [["bridge", "walt network 5 home-net alice", True], ["net5", 8787, "tun"]]
    assert found[2:4] == [[True, True], True]
    assert "net5" in found[4] and "vn1e2" not in found[4]


def test_notifications_that_were_lost_are_made_good():
    found = inside("""
        link_table.BUFFER_BYTES = 2000
        table = LinkTable()
        table.read()
        for number in range(60):
            ip(f"link add name d{number} type bridge")
        print(json.dumps(seen(table) == of_kernel()))
        print(json.dumps(len(whole)))
    """)
    assert found == [True, 2]


def test_a_reading_that_broke_off_is_no_table():
    found = inside("""
        ip("link add name d0 type bridge")
        table = LinkTable()
        ask = link_table._ask
        def breaks_off(*words):
            yield next(ask(*words))
            raise OSError("no buffer space")
        link_table._ask = breaks_off
        try:
            table.read()
        except OSError:
            link_table._ask = ask
            ip("link add name d1 type bridge")
            print(json.dumps(seen(table) == of_kernel()))
    """)
    assert found == [True]
