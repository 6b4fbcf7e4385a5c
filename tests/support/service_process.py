"""A real service as a process of its own: `python -m services.NAME`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.amqp_user import AmqpUser
from tests.support.ports import free_port
from tests.support.wait import wait_until

START_S = 30


@contextlib.contextmanager
def service_process(
    name: str,
    uri: str,
    folder: Path,
    *,
    host: str = "lab",
    inside: Sequence[str] = (),
    code: str = "",
    caller: str = "",
    **env: str,
) -> Iterator[None]:
    """The service on this broker with its state in `folder`, once it answers.

    name: as others call it, with @HOST where it has one; inside: argv prefix, of a namespace; code: Python that runs in
    the process before the service does; caller: a URI with which it is asked whether it answers, where its own account
    may not call.
    """
    module = f"services.{name.partition('@')[0]}"
    run = f"{code}\nimport runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    common = {"WALT_AMQP_URI": uri, "WALT_HOST": host, "WALT_STATE_DIR": str(folder), "WALT_RUN_DIR": str(folder)}
    metrics = {"WALT_METRICS_PORT": str(free_port())}
    log = folder / "service.log"
    with log.open("ab") as output:
        argv = [*inside, sys.executable, "-c", run]
        process = subprocess.Popen(argv, env={**os.environ, **common, **metrics, **env}, stdout=output, stderr=output)
    user = AmqpUser(caller or uri)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(TimeoutError):
            user.reply(f"{name}.ping", user_id=user.name, wait_s=1)  # no such method: an error, without any work
            return True
        return False

    try:
        wait_until(answers, START_S, log.read_text)
        yield
    finally:
        user.close()
        process.kill()
        process.wait()
