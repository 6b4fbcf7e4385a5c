"""`python -m services.bootserver.nfs`: the NFS server of walt-net, as a process of its own.

Apart from bootserver, so that a restart of that service interrupts no node's root. Writes the configuration and
becomes ganesha.nfsd. NFSv4 only: one port, and no rpcbind, whose socket and port several instances would share.
Without a grace period: nodes only read, so that after a restart there is nothing to reclaim.

Environment: WALT_IMAGES_DIR (exported read-only, ext4 or xfs), WALT_STATE_DIR, WALT_RUN_DIR.
"""

from __future__ import annotations

import os
from pathlib import Path

from services.bootserver.bootplan import NFS_ROOT
from services.contracts.errors import Failed
from services.kit.environment import environment, variable
from services.kit.files import write_atomically

GANESHA = "ganesha.nfsd"
IMAGES_DIR = "/var/cache/walt/images"
MOUNT_TABLE = Path("/etc/mtab")

# ganesha puts its name on the host's system bus, where two instances would meet: it finds no bus.
NO_BUS = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


def configuration(images: Path, recovery: Path) -> str:
    """ganesha.conf. Pure."""
    return f"""
NFS_CORE_PARAM {{
    Protocols = 4;
    Enable_UDP = false;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    fsid_device = true;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSv4 {{
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = "{recovery}";
    Only_Numeric_Owners = true;
    Minor_Versions = 2;
}}
EXPORT {{
    Export_Id = 1;
    Path = "{images}";
    Pseudo = "{NFS_ROOT}";
    Access_Type = RO;
    Squash = No_Root_Squash;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
""".lstrip()


def main() -> None:
    if not MOUNT_TABLE.exists():  # ganesha looks its file systems up there; without, it would serve an empty tree
        raise SystemExit(f"{MOUNT_TABLE} is not there (mend: ln -s /proc/mounts {MOUNT_TABLE})")
    env = environment()
    images = Path(variable("WALT_IMAGES_DIR", IMAGES_DIR))
    state = env.state_dir / "nfs"
    images.mkdir(parents=True, exist_ok=True)
    (state / "recovery").mkdir(parents=True, exist_ok=True)
    env.run_dir.mkdir(parents=True, exist_ok=True)
    settings = state / "ganesha.conf"
    write_atomically(settings, configuration(images, state / "recovery"))
    argv = [
        GANESHA,
        "-F",
        "-f",
        str(settings),
        "-p",
        str(env.run_dir / "ganesha.pid"),
        "-L",
        "/dev/stderr",
        "-N",
        "NIV_MAJ",
    ]
    try:
        os.execvpe(GANESHA, argv, {**os.environ, **NO_BUS})
    except FileNotFoundError:
        raise SystemExit(str(Failed(f"{GANESHA} is not installed (Debian: nfs-ganesha, nfs-ganesha-vfs)"))) from None


if __name__ == "__main__":
    main()
