from pathlib import Path

import pytest

from walt.configuration import candidates, load_configuration, parse_configuration
from walt.contracts.errors import Denied, InvalidRequest, Unreachable


def write(path, user):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'amqp_uri = "amqp://{user}:x@127.0.0.1:5673/v"\n')


def test_first_of_the_places(tmp_path):
    home, prefix, named = tmp_path / "home", tmp_path / "venv", tmp_path / "named.toml"
    write(home / ".config/walt/client.toml", "from-home")
    assert load_configuration({"HOME": str(home)}, str(prefix)).user == "from-home"
    write(prefix / "etc/walt/client.toml", "from-prefix")
    assert load_configuration({"HOME": str(home)}, str(prefix)).user == "from-prefix"
    write(named, "from-variable")
    assert load_configuration({"HOME": str(home), "WALT_CONFIG": str(named)}, str(prefix)).user == "from-variable"


def test_named_file_is_the_only_one(tmp_path):
    write(tmp_path / "etc/walt/client.toml", "alice")
    with pytest.raises(Unreachable, match="missing.toml"):
        load_configuration({"WALT_CONFIG": str(tmp_path / "missing.toml")}, str(tmp_path))


def test_none_names_all_places_and_the_way_out():
    with pytest.raises(Unreachable) as refused:
        load_configuration({"HOME": "/nonexistent"}, "/nonexistent")
    (sentence,) = refused.value.args
    assert all(str(place) in sentence for place in candidates({"HOME": "/nonexistent"}, "/nonexistent"))
    assert "make up" in sentence


def test_unreadable_is_denied(tmp_path):
    with pytest.raises(Denied, match="cannot be read"):
        load_configuration({"WALT_CONFIG": str(tmp_path)})


def test_user_is_decoded():
    configuration = parse_configuration('amqp_uri = "amqp://al%40ice:p%2Fw@host:1234//"', Path("f"))
    assert (configuration.user, configuration.password) == ("al@ice", "p/w")
    assert "p/w" not in repr(configuration)


@pytest.mark.parametrize(
    ("rest", "broker", "vhost"),
    [
        ("host:1234//", "host:1234", "/"),
        ("host:1234", "host:1234", "/"),
        ("host/%2F", "host:5672", "/"),
        ("10.0.0.1/test0", "10.0.0.1:5672", "test0"),
        ("[::1]:1234", "[::1]:1234", "/"),
    ],
)
def test_place(rest, broker, vhost):
    configuration = parse_configuration(f'amqp_uri = "amqp://a:b@{rest}"', Path("f"))
    assert (configuration.broker, configuration.vhost) == (broker, vhost)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("amqp_uri =", "is not TOML"),
        ("", "has no amqp_uri"),
        ("amqp_uri = 3", "has no amqp_uri"),
        ('amqp_uri = "amqp://host/"', "no USER and no PASSWORD; "),
        ('amqp_uri = "amqp://a:b@host:port/"', "the port in amqp_uri is not one"),
        ('amqp_uri = "amqp://a:b@host:70000/"', "the port in amqp_uri is not one"),
        ('amqp_uri = "amqp://a:b@host/v?ssl=yes"', "'\\?' or '#' in it; allowed: "),
        ('amqp_uri = "amqp://a:b#c@host/"', "in a password %3F and %23"),
        ('amqp_url = "amqp://a:b@host/"', "amqp_url is not known; allowed: amqp_uri, ca, while_exists"),
        ('amqp_uri = "http://a:b@host/"', "no amqp://;"),
        ('amqp_uri = "amqp://a:b@/"', "no HOST;"),
        ('amqp_uri = "amqp://a:b@host/"\nca = "x"', "ca is for amqps://"),
        ('amqp_uri = "amqps://a:b@host/"\nca = 3', "ca is for amqps://"),
    ],
)
def test_bad_files(text, said):
    with pytest.raises(InvalidRequest, match=said):
        parse_configuration(text, Path("file.toml"))


def test_password_is_not_sent_where_a_local_platform_was(tmp_path):
    network = tmp_path / "network"
    text = f'amqp_uri = "amqp://me:secret@198.18.0.2:5672//"\nwhile_exists = "{network}"\n'
    with pytest.raises(Unreachable, match="is down .*make up"):
        parse_configuration(text, tmp_path)
    network.touch()
    assert parse_configuration(text, tmp_path).user == "me"
