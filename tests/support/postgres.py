"""A real PostgreSQL for the tests of the registry: on a socket in a folder of its own, gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from tests.support.wait import wait_until

USER = "postgres"  # initdb refuses root
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--pdeathsig=QUIT", "--")
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # the folders of each version


class PrivatePostgres:
    """Started by `start`, ended by `stop`, after which what was committed is there again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self.url = f"postgresql+psycopg://{USER}@/{USER}?host={quote(str(folder))}"
        options = ["--auth=trust", f"--username={USER}", "--no-sync", "--no-locale", "--encoding=UTF8"]
        assert self._popen("initdb", "--pgdata", str(self._data), *options).wait(60) == 0

    def start(self, limit_s: float = 30) -> None:
        self._server = self._popen("postgres", "-D", str(self._data), "-h", "", "-k", str(self._folder), "-F")
        wait_until(
            lambda: self._popen("pg_isready", "-q", "-h", str(self._folder)).wait(10) == 0,
            limit_s,
            (self._folder / "log").read_text,
        )

    def stop(self) -> None:
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(30)

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        argv = [*(AS_USER if os.geteuid() == 0 else ()), str(PROGRAMS[-1] / program), *arguments]
        with (self._folder / "log").open("a") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder)


@contextlib.contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    folder = Path(tempfile.mkdtemp(prefix="walt-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        one = PrivatePostgres(folder)
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder)


def drop_tables(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
