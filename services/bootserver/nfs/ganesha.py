"""`python -m services.bootserver.nfs.ganesha`: the NFS server of walt-net, as a process of its own.

Separate from bootserver, so that a restart of that service interrupts no node's root. This process is the parent of
ganesha.nfsd: it writes ganesha's configuration, and when bootserver has changed who may mount what (`persist.py`), it
writes it again and sends ganesha SIGHUP. So bootserver needs no pid of this side, and the two may run in different
containers. Parent and child end together.

Environment: WALT_IMAGES_DIR (exported read-only; ext4 or xfs), WALT_STATE_DIR (ext4 or xfs too), WALT_RUN_DIR,
WALT_SUBNET.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from pathlib import Path

from services.bootserver.nfs import exports, persist
from services.kit.environment import environment
from services.kit.files import write_atomically
from services.kit.log_lines import set_up_logging
from services.kit.say_once import SayOnce
from services.kit.subprocesses import DIE_WITH_PARENT, child_environment
from walt.contracts import bootserver, walt_net_addresses
from walt.contracts.errors import WaltError

GANESHA = "ganesha.nfsd"
IMAGES_DIR = "/var/cache/walt/images"
MOUNT_TABLE = Path("/etc/mtab")
POLL_S = 0.2

# ganesha registers its name on the system bus of the host, where two instances would conflict: it finds no bus.
NO_BUS = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


log = logging.getLogger(__name__)


class GaneshaConfig:
    """ganesha.conf, written from the exports that bootserver asks for."""

    def __init__(self, images: Path, state: Path, server: str) -> None:
        self._server = server
        self.path = state / "nfs" / "ganesha.conf"
        self._images = images
        self._recovery = state / "nfs" / "recovery"
        self._bootserver = state / bootserver.SERVICE
        images.mkdir(parents=True, exist_ok=True)
        self._recovery.mkdir(parents=True, exist_ok=True)

    def write(self) -> bool:
        """Whether it has changed."""
        wanted = persist.load_exports(persist.exports_file(self._bootserver))
        root = persist.persist_root(self._bootserver)
        text = exports.configuration(self._images, self._recovery, root, self._server, wanted)
        if self.path.exists() and self.path.read_text() == text:
            return False
        write_atomically(self.path, text)
        return True


def command(config: Path, pid_file: Path) -> list[str]:
    """The argv of ganesha, which ends when this process is killed, so that none is left on the port."""
    ganesha = [GANESHA, "-F", "-f", str(config), "-p", str(pid_file), "-L", "/dev/stderr", "-N", "NIV_MAJ"]
    return [*DIE_WITH_PARENT, *ganesha]


def main() -> None:
    set_up_logging()
    if not MOUNT_TABLE.exists():  # ganesha looks its file systems up there; without it, an empty tree is served
        raise SystemExit(f"{MOUNT_TABLE} is not there (fix: ln -s /proc/mounts {MOUNT_TABLE})")
    if shutil.which(GANESHA) is None:
        raise SystemExit(f"{GANESHA} is not installed (Debian: nfs-ganesha, nfs-ganesha-vfs)")
    env = environment()
    env.run_dir.mkdir(parents=True, exist_ok=True)
    images = Path(env.variable("WALT_IMAGES_DIR", IMAGES_DIR))
    config = GaneshaConfig(images, env.state_dir, str(walt_net_addresses.server(env.subnet)))
    config.write()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # inherited: it waits until ganesha takes its signals
    server = subprocess.Popen(command(config.path, env.run_dir / "ganesha.pid"), env=child_environment(**NO_BUS))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: server.terminate())
    _follow(config, server)
    raise SystemExit(server.returncode and f"{GANESHA} ended with status {server.returncode}")


def _follow(config: GaneshaConfig, server: subprocess.Popen[bytes]) -> None:
    """Returns when the server has ended. While its configuration cannot be written it keeps the one it has."""
    fault = SayOnce(log, f"the configuration of {GANESHA} stays as it was: %s", f"{GANESHA} is configured again")
    while server.poll() is None:
        try:
            if config.write():
                server.send_signal(signal.SIGHUP)
            fault.succeeded()
        except (OSError, ValueError, WaltError) as error:
            fault.failed(error)
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
