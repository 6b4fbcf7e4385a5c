"""The carriers of a node's interfaces, as vmrunner tells its qemu: at the start, live, and after its own restart."""

from __future__ import annotations

from dataclasses import replace

from tests.support.specs import HOME_NET, WALT_NET
from walt.contracts.links import LinkModel

OTHER = replace(HOME_NET, slot=4, network=replace(HOME_NET.network, id=9, name="lab"))
CUT = replace(HOME_NET, link=LinkModel(no_carrier=True))


def told(platform, network_id: int) -> list[bool]:
    """Whether it has a carrier, each time that qemu was told."""
    begin = f"set_link,name=network{network_id},up="
    return [one == f"{begin}True" for one in platform.monitor_commands(5) if one.startswith(begin)]


def test_a_cut_link_is_down_from_the_start_and_follows_the_spec(platform):
    platform.boot(interfaces=(WALT_NET, CUT, OTHER))
    commands = platform.monitor_commands(5)
    assert commands.index("set_link,name=network7,up=False") < commands.index("cont")
    platform.put(interfaces=(WALT_NET, HOME_NET, OTHER))
    platform.wait(lambda: told(platform, 7)[-1], "it has a carrier again")
    before = len(told(platform, 7))
    platform.put(interfaces=(WALT_NET, HOME_NET, OTHER), cpu_cores=7)
    platform.settle()
    assert len(told(platform, 7)) == before, "nothing is told twice"
    platform.put(interfaces=(WALT_NET, replace(OTHER, slot=3)))  # takes that slot at the next boot only
    platform.put(interfaces=(WALT_NET, replace(OTHER, slot=3, link=LinkModel(no_carrier=True))))
    platform.wait(lambda: told(platform, 9)[-1] is False, "the carrier of the other")
    assert told(platform, 7)[-1] and (platform.last().state, platform.last().run) == ("booted", 1)


def test_what_changed_while_vmrunner_was_away_is_told_at_its_start(platform):
    platform.boot(interfaces=(WALT_NET, HOME_NET))
    pid = platform.qemus()[5]
    platform.process.kill()
    platform.put(interfaces=(WALT_NET, CUT))
    platform.process.start()
    platform.wait_until_it_answers()
    platform.wait(lambda: told(platform, 7)[-1] is False, "its carrier is gone")
    assert platform.qemus()[5] == pid and "stop" not in platform.monitor_commands(5)


def test_it_is_kept_over_a_reboot(platform):
    platform.boot(interfaces=(WALT_NET, HOME_NET))
    platform.put(interfaces=(WALT_NET, CUT))
    platform.wait(lambda: told(platform, 7)[-1] is False, "its carrier is gone")
    platform.put(boot=2)
    platform.wait_state("booting", boot=2)
    commands = platform.monitor_commands(5)
    assert commands.index("set_link,name=network7,up=False") < commands.index("cont")
