from configparser import RawConfigParser
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from deploy.local import programs
from deploy.local.instance import Instance, Uplink
from deploy.services import SERVICES
from walt.contracts import bootserver, netemu, nodes
from walt.contracts.agent_names import service_name

SETUP = programs.Setup(
    instance=Instance("unit"),
    uplink=Uplink(IPv4Network("198.18.0.4/30")),
    host="lab1",
    checkout=Path("/src/a walt"),
    python=Path("/src/a walt/.venv/bin/python"),
    passwords={"walt-services": "pass%word", "walt-accounts": "other", "walt-host-lab1-2": "lesser"},
    images={"full": "debian-1", "default": "small-2"},
)


def test_every_service_is_a_program_with_a_metrics_port_of_its_own() -> None:
    found = {program.name: program for program in programs.programs(SETUP)}
    assert set(found) == {"epmd", "rabbitmq", "docker-images", "persist", "dns", "resolver", "ntp", *SERVICES}
    ports = [found[service].environment["WALT_METRICS_PORT"] for service in SERVICES]
    assert len(set(ports)) == len(SERVICES)


def test_each_service_is_started_by_its_own_command() -> None:
    found = {program.name: list(program.argv) for program in programs.programs(SETUP)}
    for service in SERVICES:
        assert found[service][-3:] == [str(SETUP.python), "-m", f"services.{service}"]


def test_services_and_broker_have_the_processor_before_vms() -> None:
    found = {program.name: tuple(program.argv[:3]) for program in programs.programs(SETUP)}
    assert {name for name, first in found.items() if first != ("nice", "-n", "-5")} == {"epmd"}


def test_only_the_broker_runs_as_rabbitmq() -> None:
    as_rabbitmq = {program.name for program in programs.programs(SETUP) if "setpriv" in program.argv}
    assert as_rabbitmq == {"epmd", "rabbitmq"}


def test_own_variables_go_to_their_service_only() -> None:
    boot = programs.service_environment(SETUP, bootserver.SERVICE)
    assert boot["WALT_PLATFORM_IMAGES"] == "default=small-2,full=debian-1"
    own = {"WALT_HTTP_ADDRESS", "WALT_IMAGES_DIR", "WALT_USER_IMAGES", "WALT_PLATFORM_IMAGES"}
    of_nodes = programs.service_environment(replace(SETUP, watch_consoles="all"), nodes.SERVICE)
    assert not own & of_nodes.keys()
    assert of_nodes["WALT_WATCH_CONSOLES"] == "all"


def test_host_agents_carry_the_host() -> None:
    names = [service_name(service, "lab1") for service in SERVICES]
    assert names == ["nodes", "bootserver", "vmrunner@lab1", "netemu@lab1", "console@lab1"]


def test_the_broker_listens_on_loopback_and_the_uplink_only() -> None:
    assert programs.broker_settings(SETUP.instance, SETUP.uplink).listen == ("127.0.0.1", "198.18.0.6")


def test_supervisor_reads_the_configuration_as_it_was_meant(tmp_path: Path) -> None:
    """Supervisor's own parser: values with blanks and '%' come out as they went in."""
    config = _config_in(tmp_path)
    options = ServerOptions()
    options.realize(["-c", str(config)])
    found = {group.name: group.process_configs[0] for group in options.process_group_configs}
    nodes = found["nodes"]
    assert nodes.environment["WALT_AMQP_URI"] == "amqp://walt-services:pass%word@198.18.0.6:5672//"
    assert nodes.command == '"nice" "-n" "-5" "/src/a walt/.venv/bin/python" "-m" "services.nodes"'
    assert (nodes.autorestart, nodes.stopasgroup, nodes.killasgroup) == (options_always(), False, False)
    assert found["rabbitmq"].priority < found["persist"].priority < nodes.priority


def options_always() -> object:
    from supervisor.datatypes import RestartUnconditionally

    return RestartUnconditionally


def _config_in(folder: Path) -> Path:
    """The configuration, its folders moved to where this test may look for them."""
    parser = RawConfigParser()
    parser.read_string(programs.supervisor_config(replace(SETUP, checkout=folder)))
    for section in parser.sections():
        for key in ("logfile", "pidfile", "childlogdir", "file", "stdout_logfile"):
            if parser.has_option(section, key):
                value = folder if key == "childlogdir" else folder / Path(parser.get(section, key)).name
                parser.set(section, key, str(value))
    path = folder / "supervisord.conf"
    with path.open("w") as file:
        parser.write(file)
    return path


@pytest.mark.parametrize("value", ["a'b", 'a"b', "a\nb", "a\\b"])
def test_a_value_that_supervisor_would_misread_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="quote, a backslash or a line end"):
        programs.supervisor_config(replace(SETUP, passwords={**SETUP.passwords, "walt-services": value}))


def test_what_nodes_may_reach_is_told_to_netemu_and_the_resolver() -> None:
    dns = next(
        one for one in programs.programs(replace(SETUP, resolvers=("192.0.2.1", "192.0.2.2"))) if one.name == "resolver"
    )
    assert dns.environment["WALT_DNS_UPSTREAM"] == "192.0.2.1,192.0.2.2"
    assert programs.service_environment(SETUP, bootserver.SERVICE)["WALT_DNS_UPSTREAM"] == ""
    assert dns.environment["WALT_NAT_EXCEPT"] == "198.18.0.0/15"
    assert programs.service_environment(SETUP, netemu.SERVICE)["WALT_NAT_EXCEPT"] == "198.18.0.0/15"


def test_agents_of_a_further_host_log_in_with_an_account_of_their_own():
    found = {one.name: one.environment for one in programs.programs(replace(SETUP, host="lab1", host_count=2))}
    assert found["netemu"]["WALT_AMQP_URI"].startswith("amqp://walt-services:")
    for agent in ("vmrunner-2", "netemu-2", "console-2"):
        assert found[agent]["WALT_AMQP_URI"] == "amqp://walt-host-lab1-2:lesser@198.18.0.6:5672//"
