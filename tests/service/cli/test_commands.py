"""Each command on the whole way: its output, its messages and its exit code."""

import contextlib
import json
import os
import subprocess

import pytest

from tests.service.cli.command import Walt, client_of, read_until
from walt.contracts import errors
from walt.contracts.errors import Denied, Unreachable

CONFIG = b"""boot.delay=random
boot.retries=9
boot.timeout=180
cpu.cores=4
disks=none
netsetup=LAN
networks=walt-net
persist=1G
ram=%s
"""


def test_create_show_config_remove(walt):
    created = walt("node", "create", "a1", "a2", "--wait")
    assert (created.returncode, created.stdout, created.stderr) == (0, b"", b"a1, a2: created\n")
    shown = json.loads(walt("node", "show", "a1", "-o", "json").stdout)
    assert shown[0]["state"] == "booted"
    assert {"name", "owner", "since", "reason", "type", "ip", "mac", "image", "host", "config"} <= shown[0].keys()
    changed = walt("node", "config", "a1", "ram=1G")
    assert (changed.returncode, changed.stdout) == (0, b"")
    assert changed.stderr == b"a1: configured\ntakes effect at the next boot\n"
    assert walt("node", "config", "a1").stdout == CONFIG % b"1G"
    both = b"# a1\n" + CONFIG % b"1G" + b"# a2\n" + CONFIG % b"512M"
    assert walt("node", "config", "a1,a2").stdout == walt("device", "config", "a1,a2").stdout == both
    assert walt("node", "remove", "a1,a2").returncode == 0
    assert walt("node", "show", "a1").returncode == 3


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["node", "show", "nobody,none"], 3, b"walt: no node 'nobody'\nwalt: no node 'none'\n"),
        (["node", "frobnicate"], 2, b"walt: No such command 'frobnicate'. Allowed: acquire, "),
        (["node", "wait", "x", "--timeout", "-1"], 2, b"--timeout"),
        (["node", "create", "crash"], 1, b"internal error in the platform (RuntimeError: a defect)"),
        (
            ["node", "config", "nobody", "rma=1G"],
            2,
            b"'rma' is not a setting (did you mean ram?); allowed: boot.delay, boot.retries, ",
        ),
        *(
            (["node", *words], 2, b"' is a node set; allowed here: the name of one node, not a set\n")
            for words in (
                ["shell", "my-nodes"],
                ["console", "a,b"],
                ["cp", "ALL-nodes:/etc/hosts", "."],
                ["ping", "free-nodes"],
                ["expose", "a,b", "22", "0"],
            )
        ),
        (["node", "expose", "a", "x", "80"], 2, b"'x' is not accepted; allowed: a whole number from 1 to 65535"),
        (
            ["node", "expose", "a", "80", "65536"],
            2,
            b"'65536' is not accepted; allowed: a whole number from 0 to 65535",
        ),
        (["node", "ping", "a", "--count", "0"], 2, b"'0' is not accepted; allowed: a whole number from 1 to 3600"),
        (["help", "consle"], 3, b"no help on 'consle' (did you mean console?); there is help on: boot, "),
    ],
)
def test_errors_are_sentences_with_exit_codes(walt, words, status, said):
    done = walt(*words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_somebody_elses_node_is_refused(walt, vnode, user_uri, tmp_path):
    done = Walt(user_uri("bob"), tmp_path)("node", "reboot", vnode)
    assert (done.returncode, done.stderr) == (4, f"walt: node '{vnode}' belongs to alice\n".encode())


def test_wrong_password_is_denied(walt, user_uri, tmp_path):
    done = Walt(user_uri("alice").replace("secret", "guess"), tmp_path)("node", "show")
    assert done.returncode == 5
    assert b"refuses the login of alice" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_method_without_right_is_denied(fakes, user_uri):
    client = client_of(user_uri("alice"))
    with contextlib.closing(client), pytest.raises(Denied, match="alice may not do this"):
        client.call("nodes", "get_specs", host="local", timeout_s=5)


@pytest.mark.parametrize(
    ("method", "arguments", "error", "said"),
    [
        ("get_nodes", {"selection": "my-nodes", "newest": 1}, "Failed", "of different versions: .*newest"),
        ("get_everything", {}, "Denied", "or the platform is too old for it"),
    ],
)
def test_platform_of_another_version_is_told(fakes, user_uri, method, arguments, error, said):
    client = client_of(user_uri("alice"))
    with contextlib.closing(client), pytest.raises(getattr(errors, error), match=said):
        client.call("nodes", method, **arguments)


def test_broker_down_is_unreachable(walt, tmp_path):
    done = Walt("amqp://alice:secret@127.0.0.1:1/x", tmp_path)("node", "show")
    assert done.returncode == 6
    assert done.stderr.startswith(b"walt: the broker at 127.0.0.1:1 does not answer")
    assert done.stderr.count(b"\n") == 1


def test_service_that_never_ran_is_unreachable(fakes, user_uri):
    client = client_of(user_uri("alice"))
    with contextlib.closing(client), pytest.raises(Unreachable, match="service console@away does not answer"):
        client.call("console@away", "keep_session", session="x")


def test_service_that_is_away_does_not_obey_late(walt, fakes, folder, user_uri):
    fakes["nodes"].kill()
    try:
        client = client_of(user_uri("alice"))
        with contextlib.closing(client), pytest.raises(Unreachable, match="no reply to create_nodes within 1 s"):
            client.call("nodes", "create_nodes", names=["late"], timeout_s=1)
    finally:
        fakes["nodes"].start()
    assert walt("node", "show", "late").returncode == 3


def test_full_disk_is_a_sentence(walt):
    with open("/dev/full", "wb") as full:
        process = walt.start("node", "show", "--all", "-o", "json", stdout=full, stderr=subprocess.PIPE)
        assert b"No space left on device" in process.communicate(timeout=20)[1]
    assert process.returncode == 1


def test_power(walt, vnode):
    assert walt("node", "stop", vnode, "--wait", "--timeout", "5").returncode == 0
    assert json.loads(walt("node", "show", vnode, "-o", "json").stdout)[0]["state"] == "stopped"
    assert walt("node", "wait", vnode, "--timeout", "0.5").returncode == 124
    assert walt("node", "start", vnode, "--wait").returncode == 0
    assert walt("node", "wait", vnode, "--for", "stopped", "--timeout", "0.5").returncode == 124
    assert walt("node", "boot", vnode, "other", "--wait").returncode == 0
    assert walt("node", "reboot", vnode, "--hard", "--wait").returncode == 0


def test_rename(walt, vnode):
    assert walt("node", "rename", vnode, "renamed").stderr == f"renamed: was {vnode}\n".encode()
    assert walt("node", "show", "renamed").returncode == 0
    assert walt("node", "show", vnode).returncode == 3


def test_takeover_is_told_to_the_former_owner(walt, vnode, user_uri, tmp_path):
    (tmp_path / "bob").mkdir()
    bob = Walt(user_uri("bob"), tmp_path / "bob")
    refused = bob("node", "acquire", vnode)
    assert (refused.returncode, refused.stderr) == (
        4,
        f"walt: node '{vnode}' belongs to alice; take it over with --force\n".encode(),
    )
    with bob.on_terminal("node", "acquire", vnode) as (process, master, _):
        read_until(master, b"[y/N]:")
        os.write(master, b"y\n")
        assert process.wait(10) == 0
    shown = walt("node", "show", "-o", "json")
    assert vnode not in {one["name"] for one in json.loads(shown.stdout)}
    assert f"{vnode} was taken over by bob ".encode() in shown.stderr
    assert f" ago (walt log show {vnode})\n".encode() in shown.stderr
    assert bob("node", "show").stderr == b""


def test_save_and_images(walt, vnode):
    saved = walt("node", "save", vnode, "mine")
    assert (saved.returncode, saved.stdout, saved.stderr) == (0, b"", f"alice/mine: saved from {vnode}\n".encode())
    again = walt("node", "save", vnode, "mine")
    assert again.returncode == 4
    assert b"--force to replace it" in again.stderr
    assert walt("node", "save", vnode, "mine", "--force").returncode == 0
    images = json.loads(walt("image", "show", "-o", "json").stdout)
    assert images[1]["name"] == "alice/mine"
    assert walt("image", "show").stdout.splitlines()[0].split() == [b"name", b"owner", b"created", b"size", b"kernel"]


def test_doctor(walt):
    done = walt("doctor")
    assert done.returncode == 0
    assert b"warn  accelerator  tcg\n" in done.stdout
    assert b"fix: use KVM" in done.stdout
    assert json.loads(walt("doctor", "-o", "json").stdout)[0]["subject"] == "broker"
