"""How the broker is reached from outside: settings, RabbitMQ's lines for them, client.toml, certificates."""

import contextlib
import ssl
from pathlib import Path

import pytest

from deploy.compose import certificates, client_listener, images
from walt.configuration import parse_configuration
from walt.contracts.errors import InvalidRequest

TLS = {"WALT_AMQP_TLS": "on", "WALT_PUBLIC_NAME": "lab.example.org", "WALT_AMQP_BIND": "0.0.0.0:5671"}


def test_only_this_host_unless_told_otherwise() -> None:
    reach = client_listener.load({"WALT_PUBLIC_NAME": "", "WALT_AMQP_TLS": ""})
    assert (reach.address, reach.port, reach.name, reach.tls) == ("127.0.0.1", 5672, "127.0.0.1", False)
    assert not reach.is_open
    assert client_listener.listener(reach) == ["listeners.tcp.users = 0.0.0.0:5671"]


@pytest.mark.parametrize(
    ("more", "is_open"), [({}, True), ({"WALT_AMQP_TLS": "on"}, False), ({"WALT_AMQP_BIND": "[::1]:5672"}, False)]
)
def test_clear_text_on_a_network_is_noticed(more: dict[str, str], is_open: bool) -> None:
    assert client_listener.load({"WALT_AMQP_BIND": "192.0.2.1:5672", **more}).is_open is is_open


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"WALT_AMQP_TLS": "yes"}, "'yes' is not a choice; allowed: off or on"),
        ({"WALT_AMQP_BIND": "5672"}, "'5672' is not an address and a port"),
        ({"WALT_AMQP_BIND": "lab:5672"}, "'lab:5672' is not an address and a port"),
        ({"WALT_PUBLIC_NAME": "lab,IP:192.0.2.9"}, "'lab,IP:192.0.2.9' is neither a DNS name nor an address"),
        ({"WALT_PUBLIC_NAME": "my lab"}, "'my lab' is neither"),
        ({"WALT_PUBLIC_NAME": "lab:5671"}, "'lab:5671' is neither"),
    ],
)
def test_bad_settings_are_named(setting: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        client_listener.load(setting)


def test_the_cli_reads_what_setup_prints() -> None:
    reach = client_listener.load(TLS)
    config = parse_configuration(client_listener.client_toml(reach, "admin", "secret", "-----BEGIN\nx\n"), Path("f"))
    assert (config.user, config.password, config.broker) == ("admin", "secret", "lab.example.org:5671")
    assert (config.tls, config.host, config.ca) == (True, "lab.example.org", "-----BEGIN\nx\n")
    plain = parse_configuration(client_listener.client_toml(client_listener.load({}), "a", "b", "unused"), Path("f"))
    assert (plain.broker, plain.tls, plain.ca) == ("127.0.0.1:5672", False, None)
    six = client_listener.client_toml(client_listener.load({"WALT_AMQP_BIND": "[::1]:5672"}), "a", "b", "")
    assert parse_configuration(six, Path("f")).broker == "[::1]:5672"


def test_certificates_are_good_for_their_name_and_made_once(tmp_path: Path) -> None:
    authority, folder = tmp_path / "authority", tmp_path / "broker"
    folder.mkdir()
    pem = certificates.ensure(authority, folder, "lab.example.org", "DNS:lab.example.org")
    ssl.create_default_context(cadata=pem)
    made = (folder / "cert.pem").read_bytes()
    assert certificates.ensure(authority, folder, "lab.example.org", "DNS:lab.example.org") == pem
    assert (folder / "cert.pem").read_bytes() == made
    assert certificates.ensure(authority, folder, "192.0.2.1", "IP:192.0.2.1") == pem  # the authority stays
    assert (folder / "cert.pem").read_bytes() != made
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "cert.pem", folder / "key.pem")


@pytest.mark.parametrize("survived", range(3))
def test_a_kill_leaves_no_certificate_without_its_key(
    survived: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name has changed; setup ends at one of its renames, and is run again."""
    authority, folder = tmp_path / "authority", tmp_path / "broker"
    folder.mkdir()
    certificates.ensure(authority, folder, "lab.example.org", "DNS:lab.example.org")
    rename, left = Path.rename, iter([True] * survived)

    def renamed(self: Path, target: Path) -> Path:
        if not next(left, False):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", renamed)
        certificates.ensure(authority, folder, "new.example.org", "DNS:new.example.org")
    certificates.ensure(authority, folder, "new.example.org", "DNS:new.example.org")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "cert.pem", folder / "key.pem")


def test_platform_images() -> None:
    assert images.parse("default=debian,small=small") == {"default": "debian", "small": "small"}
    for text in ("", "default", "=small", "default=none"):
        with pytest.raises(InvalidRequest, match="allowed: NAME=RECIPE"):
            images.parse(text)
