"""The programs of an instance and the supervisor's configuration for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.broker import rabbitmq
from deploy.broker.accounts import ACCOUNTS_ACCOUNT
from deploy.local.instance import IMAGES, UPLINK_POOL, Instance, LocalHost, Uplink, local_hosts
from deploy.services import BROKER, BROKER_PORT, MANAGEMENT_PORT, METRICS_PORTS, SERVICES
from walt.contracts import bootserver, netemu, nodes, vmrunner
from walt.contracts.agent_names import AGENTS
from walt.contracts.agent_rights import SERVICES_ACCOUNT, account_of_host

DOCKER_IMAGES = "docker-images"
HELPERS = {  # bootserver's, each a process of its own
    DOCKER_IMAGES: "docker_images",
    "persist": "persist.aoe_server",
    "dns": "dns.dnsmasq",
    "resolver": "dns.resolver",
    "ntp": "ntp.ntp_server",
}

AS_RABBITMQ = ("setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--init-groups", "--")
SERVICES_NICE = -5  # before VMs, which run behind whoever starts them
BEFORE_VMS = ("nice", "-n", str(SERVICES_NICE))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEVER_REACHED = {"WALT_NAT_EXCEPT": str(UPLINK_POOL)}  # this host's end, and the other instances

Progress = Callable[[str], None]  # takes one line


@dataclass(frozen=True)
class Setup:
    """What an instance is started with. passwords: of the platform's own accounts at the broker; images: {name users
    see: its folder in the cache}; resolvers: of other names than the nodes'; docker_host: the engine that images are
    imported from, "" the usual one."""

    instance: Instance
    uplink: Uplink
    host: str
    checkout: Path
    python: Path
    passwords: Mapping[str, str]
    images: Mapping[str, str]
    resolvers: Sequence[str] = ()
    docker_host: str = ""
    watch_consoles: str = "owner"
    host_count: int = 1

    @property
    def hosts(self) -> list[LocalHost]:
        """The first is `host`."""
        return local_hosts(self.instance, self.host, self.host_count)

    @property
    def services_uri(self) -> str:
        return self._uri(SERVICES_ACCOUNT)

    def uri_on(self, host: LocalHost) -> str:
        """Of the services of this host: of a further one these are agents, with an account of their own."""
        return self.services_uri if host.is_first else self._uri(account_of_host(host.label))

    def _uri(self, account: str) -> str:
        return amqp_uri(account, self.passwords[account], self.uplink)


@dataclass(frozen=True)
class Program:
    """One supervised program. order: lower starts first and stops last."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    order: int
    stop_wait_s: int = 10


def amqp_uri(user: str, password: str, uplink: Uplink) -> str:
    return f"amqp://{user}:{password}@{uplink.inside}:{BROKER_PORT}//"


def broker_settings(instance: Instance, uplink: Uplink) -> rabbitmq.BrokerSettings:
    return rabbitmq.BrokerSettings(instance.broker, ("127.0.0.1", str(uplink.inside)))


def programs(setup: Setup) -> list[Program]:
    broker = broker_settings(setup.instance, setup.uplink)
    erlang = rabbitmq.environment(broker)
    epmd = [*AS_RABBITMQ, "epmd", "-address", "127.0.0.1", "-port", str(broker.epmd_port)]
    return [
        Program("epmd", epmd, erlang, order=1),
        Program(BROKER, [*BEFORE_VMS, *AS_RABBITMQ, rabbitmq.SERVER], erlang, order=2, stop_wait_s=20),
        *(
            Program(name, _python(setup, f"services.bootserver.{module}"), _helper_environment(setup, name), 3)
            for name, module in HELPERS.items()
        ),
        *(_service(setup, host, name) for host in setup.hosts for name in (SERVICES if host.is_first else AGENTS)),
    ]


def _service(setup: Setup, host: LocalHost, name: str) -> Program:
    argv = [*host.enter, *_python(setup, f"services.{name}")]
    return Program(host.program(name), argv, service_environment(setup, name, host), 4)


def service_environment(setup: Setup, service: str, on: LocalHost | None = None) -> dict[str, str]:
    """Variables of a service process; each service's own are explained in its `service.py`. on: the host, by default
    the first."""
    host = on or setup.hosts[0]
    return {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONUNBUFFERED": "1",
        "WALT_AMQP_URI": setup.uri_on(host),
        "WALT_HOST": host.label,
        "WALT_STATE_DIR": str(host.state),
        "WALT_RUN_DIR": str(host.runtime),
        "WALT_LINES_DIR": str(host.state / "lines"),
        "WALT_METRICS_PORT": str(METRICS_PORTS[service]),
        **_own_variables(setup, service, host),
    }


def _own_variables(setup: Setup, service: str, host: LocalHost) -> dict[str, str]:
    if service == nodes.SERVICE:
        account = f"{ACCOUNTS_ACCOUNT}:{setup.passwords[ACCOUNTS_ACCOUNT]}"
        return {
            "WALT_BROKER_API": f"http://{account}@127.0.0.1:{MANAGEMENT_PORT}",
            "WALT_PUBLIC_METHODS": str(setup.instance.public_methods),
            "WALT_WATCH_CONSOLES": setup.watch_consoles,
        }
    if service == bootserver.SERVICE:
        return {
            "WALT_HTTP_ADDRESS": "0.0.0.0:80",
            "WALT_IMAGES_DIR": str(IMAGES),
            "WALT_USER_IMAGES": setup.instance.user_images.name,
            "WALT_PLATFORM_IMAGES": ",".join(f"{name}={folder}" for name, folder in sorted(setup.images.items())),
            "WALT_DNS_UPSTREAM": ",".join(setup.resolvers),
            **NEVER_REACHED,
        }
    if service == netemu.SERVICE:
        underlay = {"WALT_UNDERLAY": str(host.underlay)} if setup.host_count > 1 else {}
        return {"WALT_SERVER_HOST": setup.host, **underlay, **NEVER_REACHED}
    if service == vmrunner.SERVICE:
        return {"WALT_VM_UIDS": setup.uplink.vm_uids(host.number)}
    return {}


def _helper_environment(setup: Setup, name: str) -> dict[str, str]:
    """The Docker Engine is told to the one that uses it."""
    docker = {"DOCKER_HOST": setup.docker_host} if setup.docker_host and name == DOCKER_IMAGES else {}
    return {**service_environment(setup, bootserver.SERVICE), **docker}


def supervisor_config(setup: Setup) -> str:
    """supervisord.conf. Signals go to the program alone: VMs and links of an agent outlive it."""
    instance = setup.instance
    head: dict[str, Mapping[str, object]] = {
        "unix_http_server": {"file": instance.supervisor_socket, "chmod": "0700"},
        "supervisord": {
            "logfile": instance.logs / "supervisord.log",
            "logfile_maxbytes": "1MB",
            "logfile_backups": 1,
            "pidfile": instance.runtime / "supervisord.pid",
            "childlogdir": instance.logs,
            "directory": "/",
            "identifier": instance.namespace,
            "user": "root",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    sections = {**head, **{f"program:{program.name}": _section(setup, program) for program in programs(setup)}}
    return "\n".join(_render(name, values) for name, values in sections.items())


def _section(setup: Setup, program: Program) -> dict[str, object]:
    return {
        "command": " ".join(_quoted(argument) for argument in program.argv),
        "directory": setup.checkout,
        "environment": ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items()),
        "priority": program.order,
        "autostart": "true",
        "autorestart": "true",
        "startsecs": 1,
        "startretries": 1_000_000,
        "stopwaitsecs": program.stop_wait_s,
        "stopasgroup": "false",
        "killasgroup": "false",
        "redirect_stderr": "true",
        "stdout_logfile": setup.instance.logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": "5MB",
        "stdout_logfile_backups": 2,
    }


def _render(name: str, values: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""])


def _quoted(text: str) -> str:
    """An argument or the value of a variable: supervisor takes quotes, and doubles '%'."""
    if re.search(r"[\"'\n\\]", text):
        raise ValueError(f"{text!r} has a quote, a backslash or a line end; allowed: neither")
    return '"' + text.replace("%", "%%") + '"'


def _python(setup: Setup, module: str) -> list[str]:
    return [*BEFORE_VMS, str(setup.python), "-m", module]
