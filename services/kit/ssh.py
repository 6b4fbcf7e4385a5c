"""OpenSSH to a node: the files that authenticate both sides, and the client's argv.

ssh.write_credentials(folder, access)
subprocesses.run(ssh.argv(folder, access, ["poweroff"]))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.kit.files import write_atomically
from walt.contracts.bootserver import NodeAccess

HOST_ALIAS = "node"  # the name under which known_hosts has the host key
KEY_FILE = "key"
KNOWN_HOSTS_FILE = "known_hosts"
CONNECT_TIMEOUT_S = 60  # also for the banner and the keys: an sshd under emulation on a busy host takes its time
CONNECTION_FAILED = 255  # exit status of ssh when it is not the command's


def write_credentials(folder: Path, access: NodeAccess) -> None:
    """The private key and the node's host key, in a folder that the caller removes afterwards."""
    write_atomically(folder / KEY_FILE, access.private_key, 0o600)
    write_atomically(folder / KNOWN_HOSTS_FILE, f"{HOST_ALIAS} {access.host_key}\n", 0o600)


def argv(
    folder: Path,
    access: NodeAccess,
    command: Sequence[str] = (),
    *,
    program: str = "ssh",
    terminal: bool = False,
    log_file: Path | None = None,
) -> list[str]:
    """The argv that runs `command` in the node (none: a login shell) with the credentials in `folder`.

    Every option that matters is given: no configuration file of this host applies, and no question is ever asked.
    log_file: where ssh writes its own messages, apart from the standard error of the command.
    """
    # fmt: off
    return [
        program,
        "-F", "/dev/null",
        "-i", str(folder / KEY_FILE),
        *(["-E", str(log_file)] if log_file else []),
        "-o", "IdentitiesOnly=yes",
        "-o", "IdentityAgent=none",
        "-o", f"UserKnownHostsFile={folder / KNOWN_HOSTS_FILE}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", f"HostKeyAlias={HOST_ALIAS}",
        "-o", "BatchMode=yes",
        "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}",
        "-o", "ServerAliveInterval=15",
        "-o", "ServerAliveCountMax=4",
        "-o", "LogLevel=ERROR",
        "-e", "none",
        "-tt" if terminal else "-T",
        "-l", access.user,
        access.ip,
        *(["--", *command] if command else []),
    ]
    # fmt: on
