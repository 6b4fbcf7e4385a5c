"""Bad input: one clear line that names the token and what is allowed, the right exit code, nothing changed."""

import json
import os
import re
import subprocess

import pytest

from tests.system.platform import WALT


@pytest.fixture(scope="module")
def node(walt):
    walt("node", "create", "steady", "-c", "boot.delay=300", "-c", "boot.timeout=none")  # it need not run
    yield "steady"
    walt("node", "remove", "steady")


USAGE, NOT_FOUND, CONFLICT = 2, 3, 4

CASES = [
    (("node", "show", "nosuch"), NOT_FOUND, ["nosuch"]),
    (("node", "reboot", "steady,nosuch"), NOT_FOUND, ["nosuch"]),
    (("node", "wait", "nosuch"), NOT_FOUND, ["nosuch"]),
    (("node", "console", "nosuch"), NOT_FOUND, ["nosuch"]),
    (("node", "run", "nosuch", "--", "true"), NOT_FOUND, ["nosuch"]),
    (("node", "create", "1node"), USAGE, ["1node", "letter"]),
    (("node", "create", "bad_name"), USAGE, ["bad_name"]),
    (("node", "create", "n" * 64), USAGE, ["63"]),
    (("node", "create", "my-nodes"), USAGE, ["my-nodes", "reserved"]),
    (("node", "create", "fresh", "steady"), CONFLICT, ["steady"]),
    (("node", "create", "STEADY"), CONFLICT, ["steady"]),
    (("node", "create", "fresh", "--image", "nosuch"), NOT_FOUND, ["nosuch"]),
    (("node", "config", "steady", "rum=2G"), USAGE, ["rum", "ram"]),
    (("node", "config", "steady", "ram=2X"), USAGE, ["2X", "512M"]),
    (("node", "config", "steady", "ram=32M"), USAGE, ["32M", "64M"]),
    (("node", "config", "steady", "cpu.cores=0"), USAGE, ["cpu.cores", "1"]),
    (("node", "config", "steady", "networks=home-net"), USAGE, ["walt-net"]),
    (("node", "config", "steady", "networks=walt-net,home-net[lat=10]"), USAGE, ["lat=10", "10ms"]),
    (("node", "config", "steady", "networks=walt-net,home-net[lag=10ms]"), USAGE, ["lag=10ms", "lat"]),
    (("node", "config", "steady", "boot.timeout=60", "boot.delay=90"), USAGE, ["boot.timeout", "boot.delay"]),
    (("node", "config", "steady", "boot.timeout=59"), USAGE, ["59", "60"]),
    (("node", "config", "steady", "cpu.cores=two", "ram=3k", "nonsense=1"), USAGE, ["two", "3k", "nonsense"]),
    (("node", "config", "steady", "ram"), USAGE, ["ram"]),
    (
        (
            "node",
            "frobnicate",
        ),
        USAGE,
        ["frobnicate"],
    ),
    (("node", "create"), USAGE, []),
    (("node", "show", "a,,b"), USAGE, ["a,,b"]),
]


@pytest.mark.parametrize(("words", "status", "tokens"), CASES, ids=[" ".join(words)[:60] for words, *_ in CASES])
def test_is_refused_in_words(before, walt, words, status, tokens):
    done = walt(*words, check=False)
    assert done.status == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr
    for token in tokens:
        assert token in done.stderr
    assert names_and_configs(walt) == before


@pytest.fixture(scope="module")
def before(node, walt):
    return names_and_configs(walt)


def names_and_configs(walt):
    shown = walt("node", "show", "all-nodes", "-o", "json").stdout
    return [(node["name"], node["owner"], node["config"]) for node in json.loads(shown)]


def show_nodes_with(configuration):
    """`walt node show` by a user who has this client.toml."""
    env = {**os.environ, "WALT_CONFIG": str(configuration)}
    return subprocess.run([WALT, "node", "show"], env=env, capture_output=True, text=True, check=False)


def test_no_client_configuration_is_said(walt, platform, tmp_path):
    done = show_nodes_with(tmp_path / "none.toml")
    assert done.returncode == 6
    assert "none.toml" in done.stderr


def test_wrong_password_is_denied(walt, platform, tmp_path):
    good = (platform.instance.clients / "alice.toml").read_text()
    config = tmp_path / "client.toml"
    config.write_text(re.sub(r"alice:[^@]+@", "alice:wrong@", good))
    config.chmod(0o600)
    done = show_nodes_with(config)
    assert done.returncode == 5
    assert "alice" in done.stderr


@pytest.mark.parametrize("setting", ["kexec.allow=true", "mount.persist=true", "expose=none", "powersave=1"])
def test_fault_37_no_setting_without_effect_is_taken(node, walt, setting):
    refused = walt("node", "config", node, setting, check=False)
    assert refused.status == USAGE
    assert setting.partition("=")[0] in refused.stderr
