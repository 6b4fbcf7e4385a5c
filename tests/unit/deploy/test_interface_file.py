"""deploy/compose/interface.yml: a physical interface for walt-net, as an override of docker-compose.yml."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OVERRIDE = yaml.safe_load((ROOT / "deploy" / "compose" / "interface.yml").read_text())


def test_the_interface_is_in_the_world_alone_and_netemu_is_told_which():
    services = OVERRIDE["services"]
    assert set(services) == {"world", "netemu"} <= set(BASE["services"])
    assert BASE["services"]["netemu"]["network_mode"] == "service:world"
    assert services["netemu"] == {
        "environment": {"WALT_INTERFACE": services["world"]["networks"]["physical"]["mac_address"]}
    }
    assert "WALT_INTERFACE" not in BASE["services"]["netemu"]["environment"], "none without the override"


def test_the_world_keeps_its_gateway():
    (network,) = OVERRIDE["networks"]
    kept = BASE["services"]["world"]["networks"]
    assert set(OVERRIDE["services"]["world"]["networks"]) == {*kept, network}
    assert network not in BASE["networks"] and network > max(kept), "Docker takes the gateway of the first"


def test_frames_for_others_come_in_and_the_interface_must_be_named():
    options = OVERRIDE["networks"]["physical"]
    assert (options["driver"], options["driver_opts"]["macvlan_mode"]) == ("macvlan", "passthru")
    assert options["driver_opts"]["parent"].startswith("${WALT_PARENT_INTERFACE:?")
    assert "#WALT_PARENT_INTERFACE=" in (ROOT / ".env.example").read_text()
    assert "](deploy/compose/interface.yml)" in (ROOT / "README.md").read_text()
