"""System tests: one real platform for all of them, taken down and forgotten at the end, whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from deploy.local.instance import Instance
from tests.conftest import require
from tests.system.platform import WALT, Platform
from tests.system.terminal import ProgramOnTerminal

PROGRAMS = {
    "broker": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "qemu": "qemu-system-x86_64",
    "vblade": "vblade",
    "netns": "ip",
    "dns": "dnsmasq",
}


@pytest.fixture(scope="session")
def capable(as_root: None) -> None:
    """This machine can run a platform at all."""
    for what, program in PROGRAMS.items():
        require(what, shutil.which(program) is not None, f"{program} is not installed")


@pytest.fixture(scope="session")
def platform(capable: None) -> Iterator[Platform]:
    """The platform that all system tests share; users alice and bob. Nodes of a test are the test's to remove."""
    platform = Platform(Instance(f"test{os.getpid() % 1_000_000}"))
    try:
        platform.bring_up()
        yield platform
    finally:
        done = platform.local("clean")
        assert done.status == 0, done.stderr


@pytest.fixture(scope="session")
def walt(platform: Platform) -> object:
    """walt("node", "show", user="bob", check=False) -> Done(status, stdout, stderr)."""
    return platform.walt


@pytest.fixture
def terminal(platform: Platform) -> Iterator[Callable[..., ProgramOnTerminal]]:
    """terminal("node", "shell", "vnode1", user="bob") -> ProgramOnTerminal with that `walt` command in it."""
    opened: list[ProgramOnTerminal] = []

    def open_terminal(*words: str, user: str = "alice") -> ProgramOnTerminal:
        opened.append(ProgramOnTerminal([WALT, *words], platform.environment(user)))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()
