"""`walt` and the real console service. Nodes are folders of this host, behind a fake ssh."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.service.cli.command import ROOT, Fake, Walt
from tests.support.wait import wait_until

# As ssh: what it runs outlives it. The root of every node has HOME as home, which says what nodes cannot be reached.
FAKE_SSH = """#!/bin/sh
while [ "$1" != "--" ]; do [ "$1" != -E ] || log=$2; ip=$1; shift; done
shift
cd HOME || exit 255
if [ -e "unreachable-$ip" ]; then echo "connect to host: no route" >> "$log"; exit 255; fi
PATH=HOME/bin:$PATH exec setsid --wait sh -c "$*"
"""


class Console(Fake):
    """`python -m services.console`"""

    def __init__(self, folder, amqp_uri):
        super().__init__("console", folder, amqp_uri)
        self.argv = [sys.executable, "-m", "services.console"]
        self.env |= {
            "WALT_HOST": "local",
            "WALT_LINES_DIR": str(folder / "lines"),
            "WALT_RUN_DIR": str(folder / "run"),
            "WALT_METRICS_PORT": "0",
            "WALT_SSH": str(folder / "ssh"),
        }

    def start(self):
        self.process = subprocess.Popen(self.argv, cwd=ROOT, env=self.env)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="walt-sessions-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def home(folder):
    """The home of root on every node."""
    home = folder / "home"
    (home / "bin").mkdir(parents=True)
    (folder / "ssh").write_text(FAKE_SSH.replace("HOME", str(home)))
    os.chmod(folder / "ssh", 0o755)
    return home


@pytest.fixture(scope="module")
def uri(broker_port, vhost):
    return f"amqp://walt-services:secret@127.0.0.1:{broker_port}/{vhost}"


@pytest.fixture(scope="module")
def console(folder, home, uri):
    fakes = [Fake("nodes", folder, uri), Fake("bootserver", folder, uri), Console(folder, uri)]
    with contextlib.ExitStack() as stack:
        for fake in fakes:
            fake.start()
            stack.callback(fake.kill)
        yield fakes[-1]


@pytest.fixture(scope="module")
def walt(console, user_uri, folder):
    walt = Walt(user_uri("alice"), folder)
    assert walt("node", "create", "vnode1", "vnode2", "vnode10", "--wait").returncode == 0
    wait_until(lambda: walt("node", "run", "vnode1", "--", "true").returncode == 0, 30)
    return walt


@pytest.fixture
def bob(user_uri, tmp_path):
    return Walt(user_uri("bob"), tmp_path)
