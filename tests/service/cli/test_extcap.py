"""Links in Wireshark's list of interfaces: by the real tshark; the capture itself is a stand-in."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import require
from tests.service.cli.command import ROOT
from tests.support.wait import wait_until

SCRIPT = """#!/bin/sh
cd "{root}" && exec "{python}" -m cli.sessions.extcap "$@"
"""


@pytest.fixture
def folder_of_extcap(walt, tmp_path):
    script = tmp_path / ".config/wireshark/extcap/walt-extcap"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.format(root=ROOT, python=sys.executable))
    script.chmod(0o755)
    walt.env["HOME"] = str(tmp_path)
    return script.parent


def output_of(walt, *argv):
    done = subprocess.run(argv, env=walt.env, capture_output=True, text=True, timeout=60)
    return done.stdout


def test_links_of_the_users_nodes_are_in_its_list(walt, vnode, folder_of_extcap):
    require("tshark", shutil.which("tshark") is not None, "tshark is not installed")
    assert walt("node", "config", vnode, "networks=walt-net,home-net[lat=10ms]").returncode == 0
    listed = output_of(walt, "tshark", "-D")
    for network in ("walt-net", "home-net"):
        assert f"walt-{vnode}:{network} (walt: {vnode} on {network})" in listed
    types = output_of(walt, "tshark", "-L", "-i", f"walt-{vnode}:home-net")
    assert "EN10MB" in types or "Ethernet" in types


def test_frames_go_into_its_pipe_until_it_is_closed(walt, vnode, folder_of_extcap, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    argv = [folder_of_extcap / "walt-extcap", "--capture", "--extcap-interface", f"walt-{vnode}:home-net"]
    argv += ["--extcap-capture-filter", "arp", "--fifo", tmp_path / "fifo"]
    process = subprocess.Popen(argv, env=walt.env, stderr=subprocess.PIPE, text=True)
    with (tmp_path / "fifo").open("rb") as pipe:
        assert pipe.readline() == b"home-net arp 0\n"
        assert pipe.readline() == b"piece 0\n"
    wait_until(lambda: process.poll() is not None)
    assert (process.returncode, process.stderr.read()) == (0, f"capturing {vnode} on home-net; ctrl-c ends it\n")
    process.stderr.close()


def test_without_a_platform_wireshark_starts_all_the_same(walt, folder_of_extcap):
    (folder_of_extcap / "client.toml").write_text('amqp_uri = "amqp://nobody:x@127.0.0.1:1//"\n')
    walt.env["WALT_CONFIG"] = str(folder_of_extcap / "client.toml")
    done = subprocess.run([folder_of_extcap / "walt-extcap", "--extcap-interfaces"], env=walt.env, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"extcap {version=0.1}{display=walt}\n")
