"""`python -m services.bootserver.nfs`: the NFS server of walt-net, as a process of its own.

Apart from bootserver, so that a restart of that service interrupts no node's root. This process is the parent of
ganesha.nfsd: it writes ganesha's configuration, and when bootserver has changed who may mount which /persist
(`persist.py`), it writes it anew and tells ganesha by SIGHUP. So bootserver needs no pid of this side, and the two may
live in different containers. Either of parent and child ends with the other.

Environment: WALT_IMAGES_DIR (exported read-only, ext4 or xfs), WALT_STATE_DIR (ext4 or xfs too), WALT_RUN_DIR, WALT_SUBNET.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from services.bootserver import exports, persist
from services.contracts import addresses, bootserver
from services.contracts.errors import WaltError
from services.kit.commands import END_WITH_US
from services.kit.environment import environment, variable
from services.kit.files import write_atomically

GANESHA = "ganesha.nfsd"
IMAGES_DIR = "/var/cache/walt/images"
MOUNT_TABLE = Path("/etc/mtab")
LOOK_S = 0.2

# ganesha puts its name on the host's system bus, where two instances would meet: it finds no bus.
NO_BUS = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


class Settings:
    """ganesha.conf, as it follows from what bootserver says."""

    def __init__(self, images: Path, state: Path, server: str) -> None:
        self._server = server
        self.path = state / "nfs" / "ganesha.conf"
        self._images = images
        self._recovery = state / "nfs" / "recovery"
        self._bootserver = state / bootserver.SERVICE
        images.mkdir(parents=True, exist_ok=True)
        self._recovery.mkdir(parents=True, exist_ok=True)

    def write(self) -> bool:
        """Whether they have changed."""
        wanted = persist.load_exports(persist.exports_file(self._bootserver))
        root = persist.persist_root(self._bootserver)
        text = exports.configuration(self._images, self._recovery, root, self._server, wanted)
        if self.path.exists() and self.path.read_text() == text:
            return False
        write_atomically(self.path, text)
        return True


def command(settings: Path, pid_file: Path) -> list[str]:
    """setpriv: no ganesha is left on the port when this process is killed."""
    ganesha = [GANESHA, "-F", "-f", str(settings), "-p", str(pid_file), "-L", "/dev/stderr", "-N", "NIV_MAJ"]
    return [*END_WITH_US, *ganesha]


def main() -> None:
    if not MOUNT_TABLE.exists():  # ganesha looks its file systems up there; without, it would serve an empty tree
        raise SystemExit(f"{MOUNT_TABLE} is not there (mend: ln -s /proc/mounts {MOUNT_TABLE})")
    if shutil.which(GANESHA) is None:
        raise SystemExit(f"{GANESHA} is not installed (Debian: nfs-ganesha, nfs-ganesha-vfs)")
    env = environment()
    env.run_dir.mkdir(parents=True, exist_ok=True)
    images = Path(variable("WALT_IMAGES_DIR", IMAGES_DIR))
    settings = Settings(images, env.state_dir, str(addresses.server(env.subnet)))
    settings.write()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # inherited: it waits until ganesha takes its signals
    server = subprocess.Popen(command(settings.path, env.run_dir / "ganesha.pid"), env={**os.environ, **NO_BUS})
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: server.terminate())
    _follow(settings, server)
    raise SystemExit(server.returncode and f"{GANESHA} ended with status {server.returncode}")


def _follow(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    """Until the server ends. It serves on with what it knows when its settings cannot be written."""
    said = ""
    while server.poll() is None:
        try:
            if settings.write():
                server.send_signal(signal.SIGHUP)
            said = ""
        except (OSError, ValueError, WaltError) as error:
            if str(error) != said:
                said = str(error)
                print(f"the settings of {GANESHA} stay as they were: {said}", file=sys.stderr, flush=True)
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
