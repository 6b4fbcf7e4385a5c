"""Completion by a platform that answers, and without one."""

import subprocess
import time

from tests.service.cli.command import ROOT, Walt, sockets
from walt.client import CONNECT_TIMEOUT_S


def completed(walt, line, **variables):
    env = {**walt.env, "_WALT_COMPLETE": "bash_complete", "COMP_LINE": line, **variables}
    began = time.monotonic()
    done = subprocess.run(walt.argv(), cwd=ROOT, env=env, capture_output=True, timeout=20, check=False)
    return [line.partition(",")[2] for line in done.stdout.decode().split()], done, time.monotonic() - began


def test_completion_of_live_names(walt, user_uri, tmp_path):
    walt("node", "create", "complete1", "complete2", "-c", "networks=walt-net,home-net[lat=10ms]")
    assert completed(walt, "walt node reboot comp")[0] == ["complete1", "complete2"]
    assert completed(walt, "walt node reboot complete1,comp")[0] == ["complete1,complete2"]
    assert completed(walt, "walt node shell complete2")[0] == ["complete2"]
    assert "default" in completed(walt, "walt node boot complete1 ")[0]
    assert completed(walt, "walt network link complete1 h")[0] == ["home-net"]
    assert completed(walt, "walt node config complete1 networks=walt-net,h")[0] == ["walt-net,home-net"]
    (tmp_path / "bob").mkdir()
    bob = Walt(user_uri("bob"), tmp_path / "bob")
    assert completed(bob, "walt node reboot comp")[0] == []
    assert completed(bob, "walt node show comp")[0] == ["complete1", "complete2"]


def test_completion_without_a_platform_is_quick_and_silent(walt, tmp_path):
    away = Walt("amqp://alice:secret@127.0.0.1:1/x", tmp_path)
    words, done, _ = completed(away, "walt node reboot ")
    assert (words, done.stderr) == (["my-nodes"], b"")
    with sockets.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        silent = Walt(f"amqp://alice:secret@127.0.0.1:{mute.getsockname()[1]}/x", tmp_path)
        words, done, took_s = completed(silent, "walt node reboot ")
    assert (words, done.stderr) == (["my-nodes"], b"")
    assert took_s < CONNECT_TIMEOUT_S, "as long as another command would wait"
