"""ssh to one node: what it needs on disk, its command line, and its own words."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.console import terminal
from services.contracts.bootserver import NodeAccess
from services.kit.files import write_atomically

FAILED = 255  # ssh's own exit status
SAID_CHARS = 2000


class Login:
    """A folder with the key and the known host, until `discard`."""

    def __init__(self, ssh: str, run_dir: Path, access: NodeAccess) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._ssh = ssh
        self._access = access
        with contextlib.ExitStack() as undo:
            self._folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=run_dir))
            undo.callback(self.discard)
            write_atomically(self._folder / "key", access.private_key, 0o600)
            write_atomically(self._folder / "known_hosts", f"{terminal.HOST_ALIAS} {access.host_key}\n", 0o600)
            undo.pop_all()

    def argv(self, command: Sequence[str], *, on_terminal: bool = False) -> list[str]:
        return terminal.ssh_argv(
            self._ssh, self._folder, self._access.user, self._access.ip, command, terminal=on_terminal
        )

    def said(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "said").read_text(errors="replace").strip()[-SAID_CHARS:]
        return ""

    def reason(self, status: int) -> str:
        """Why it failed, when it was ssh and not the command."""
        return self.said() if status == FAILED else ""

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
