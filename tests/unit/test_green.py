"""What the first import of every service process sets for the rest."""

import subprocess
import sys


def test_a_name_that_had_no_address_is_asked_for_anew() -> None:
    """eventlet's own resolver would remember it for minutes."""
    code = "import services.kit.monkey_patch, socket; print(socket.getaddrinfo.__module__)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "socket\n"
