"""`python -m services.vmrunner.launcher`: starts VMs in containers for a vmrunner that is in one itself.

The only process that has the Docker socket. It has no network, and reads nothing that a user or a guest wrote.

Environment: WALT_LAUNCHER_SOCKET (where it listens), WALT_VM_IMAGE, COMPOSE_PROJECT_NAME, WALT_VM_UIDS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from services.kit.environment import environment
from services.kit.log_lines import set_up_logging
from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.launcher.protocol import LAUNCHER_SOCKET
from services.vmrunner.launcher.server import LauncherServer
from services.vmrunner.uids import uid_range


def main() -> NoReturn:
    set_up_logging()
    env = environment()
    image, project = env.variable("WALT_VM_IMAGE", "walt-vm"), env.variable("COMPOSE_PROJECT_NAME", "walt")
    path = Path(env.variable("WALT_LAUNCHER_SOCKET", LAUNCHER_SOCKET))
    with LauncherServer(path, DockerVms(image, project, uid_range(env)), peers=(os.getuid(),)) as server:
        server.serve_forever()
    raise SystemExit


if __name__ == "__main__":
    main()
