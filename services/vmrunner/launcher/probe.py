"""`python -m services.vmrunner.launcher.probe`: whether launcher and engine answer, for a health check."""

from __future__ import annotations

from pathlib import Path

from services.kit.environment import environment
from services.vmrunner.launcher.client import VmLauncher
from services.vmrunner.launcher.protocol import LAUNCHER_SOCKET
from walt.contracts.errors import Failed

if __name__ == "__main__":
    try:
        VmLauncher(Path(environment().variable("WALT_LAUNCHER_SOCKET", LAUNCHER_SOCKET))).image_id()
    except Failed as error:
        raise SystemExit(str(error)) from None
