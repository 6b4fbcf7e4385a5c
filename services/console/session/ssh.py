"""A login in one node by ssh: its credentials in a folder, its argv, and what ssh itself reported."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.kit import ssh
from walt.contracts.bootserver import NodeAccess

MESSAGE_CHARS = 2000


class Login:
    """The folder with the credentials exists until `discard`. program: the ssh client."""

    def __init__(self, program: str, run_dir: Path, access: NodeAccess) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._program = program
        self._access = access
        with contextlib.ExitStack() as undo:
            self._folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=run_dir))
            self._log_file = self._folder / "messages"
            undo.callback(self.discard)
            ssh.write_credentials(self._folder, access)
            undo.pop_all()

    def argv(self, command: Sequence[str], *, terminal: bool = False) -> list[str]:
        return ssh.argv(
            self._folder, self._access, command, program=self._program, terminal=terminal, log_file=self._log_file
        )

    def message(self) -> str:
        """The last of what ssh itself reported; empty when it had no complaint."""
        with contextlib.suppress(OSError):
            return self._log_file.read_text(errors="replace").strip()[-MESSAGE_CHARS:]
        return ""

    def failure(self, status: int) -> str:
        """Why ssh failed, if the exit status is its own and not that of the command."""
        return self.message() if status == ssh.CONNECTION_FAILED else ""

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
