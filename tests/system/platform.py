"""A real platform under test: an instance of its own on this host, driven through the `walt` command only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import network, supervisor
from deploy.local.instance import Instance
from tests.support.wait import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
WALT = Path(sys.executable).with_name("walt")
IMAGES = ("default=small", "full=debian")
UP_LIMIT_S = 900  # the first time, images are built


@dataclass(frozen=True)
class Done:
    """A command that has ended. `status, stdout, stderr = walt(…)` works too."""

    status: int
    stdout: str
    stderr: str

    def __iter__(self) -> Iterator[int | str]:
        return iter((self.status, self.stdout, self.stderr))


@dataclass(frozen=True)
class Platform:
    instance: Instance

    def walt(
        self,
        *words: str,
        user: str = "alice",
        check: bool = True,
        timeout: float = 120,
        stdin: str | None = None,
    ) -> Done:
        """`walt WORDS…` as that user; with `check`, anything but status 0 fails the test."""
        done = _run([str(WALT), *words], timeout, self.environment(user), stdin)
        if check and done.status != 0:
            raise AssertionError(f"walt {' '.join(words)}: status {done.status}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *words: str, user: str = "alice") -> subprocess.Popen[bytes]:
        """`walt WORDS…` left running, with pipes; whoever starts it ends it."""
        pipe = subprocess.PIPE
        return subprocess.Popen([WALT, *words], stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment(user))

    def environment(self, user: str) -> dict[str, str]:
        return {**os.environ, "WALT_CONFIG": str(self.instance.clients / f"{user}.toml"), "LC_ALL": "C.UTF-8"}

    def local(self, command: str, *words: str, timeout: float = UP_LIMIT_S) -> Done:
        """`python -m deploy.local COMMAND --instance …`."""
        argv = [sys.executable, "-m", "deploy.local", command, "--instance", self.instance.name, *words]
        return _run(argv, timeout, dict(os.environ), None)

    def bring_up(self, images: Sequence[str] = IMAGES, users: Sequence[str] = ("alice", "bob")) -> None:
        done = self.local("up", *(word for image in images for word in ("--image", image)))
        assert done.status == 0, done.stderr
        for user in users:
            assert self.local("user", user).status == 0

    def pid(self, program: str) -> int:
        """The process of a supervised program, 0 while there is none."""
        return next(one.pid for one in supervisor.states(self.instance) if one.name == program)

    def kill(self, program: str, limit_s: float = 60) -> int:
        """SIGKILL one supervised program; returns its new pid once the supervisor runs it again."""
        old = self.pid(program)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self._runs_anew(program, old), limit_s, f"{program} runs again")
        return self.pid(program)

    def stop(self, program: str) -> None:
        """End a program for good, until `resume`."""
        supervisor.stop(self.instance, program)

    def resume(self, program: str) -> None:
        supervisor.resume(self.instance, program)

    @contextlib.contextmanager
    def changed(self, service: str, **variables: str) -> Iterator[None]:
        """That service with other environment variables, in place of the supervised one."""
        old = Path(f"/proc/{self.pid(service)}")
        words = old.joinpath("cmdline").read_text().rstrip("\0").split("\0")
        environment = dict(line.split("=", 1) for line in old.joinpath("environ").read_text().rstrip("\0").split("\0"))
        self.stop(service)
        argv = [*self.instance.enter, *words]
        stand_in = subprocess.Popen(argv, env={**environment, **variables}, cwd=CHECKOUT, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            stand_in.kill()
            stand_in.wait()
            self.resume(service)

    def bridges(self) -> set[str]:
        """Names of the bridges in the instance's network."""
        shown = self.inside("ip", "-json", "link", "show", "type", "bridge").stdout
        return {link["ifname"] for link in json.loads(shown or "[]") if link}

    def machines(self) -> dict[int, str]:
        """The qemu processes of the instance: pid and command line."""
        found = {}
        for pid in network.processes(self.instance):
            with contextlib.suppress(OSError):
                if network.program_of(pid).startswith("qemu-system"):
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return found

    def inside(self, *words: str, timeout: float = 30) -> Done:
        """A command in the instance's network namespace."""
        return _run([*self.instance.enter, *words], timeout, dict(os.environ), None)

    def _runs_anew(self, program: str, old: int) -> bool:
        one = next(one for one in supervisor.states(self.instance) if one.name == program)
        return one.state == "RUNNING" and one.pid not in (0, old)


def _run(argv: Sequence[str], timeout: float, environment: dict[str, str], stdin: str | None) -> Done:
    done = subprocess.run(
        argv,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=environment,
        cwd=CHECKOUT,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
