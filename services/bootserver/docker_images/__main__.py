"""`python -m services.bootserver.docker_images`: fetches root file systems from the Docker Engine.

The only process of the platform that has the engine's socket beside the launcher of VMs. bootserver decides what may be
fetched (WALT_IMAGE_SOURCES), asks for it, and unpacks the result in a worker.

Environment: WALT_RUN_DIR (its socket is there), DOCKER_HOST.
"""

from __future__ import annotations

import os
from typing import NoReturn

from services.bootserver.docker_images.protocol import socket_path
from services.bootserver.docker_images.server import DockerImagesServer
from services.kit.environment import environment
from services.kit.log_lines import set_up_logging


def main() -> NoReturn:
    set_up_logging()
    with DockerImagesServer(socket_path(environment().run_dir), peers=(os.getuid(),)) as server:
        server.serve_forever()
    raise SystemExit


if __name__ == "__main__":
    main()
