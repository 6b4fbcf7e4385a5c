"""The programs of captures: the process of each, and tcpdump, which compiles their filters."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from services.kit import tasks
from services.kit.subprocesses import child_environment
from services.kit.tasks import subprocess
from services.netemu.capture import filter_program
from services.netemu.capture.capture_buffer import CaptureOrder
from services.netemu.kernel.packet_socket import Instruction
from walt.contracts.errors import Failed

PROGRAM = "services.netemu.capture.process"
CHECKOUT = Path(__file__).parents[3]


def compile_filter(device: str, expression: str) -> Sequence[Instruction]:
    """InvalidRequest that says what is wrong with it."""
    environment = child_environment(**filter_program.ENVIRONMENT)
    try:
        process = subprocess.Popen(
            filter_program.argv(device, expression),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise Failed(f"the filter cannot be compiled: {error}") from None
    try:
        with tasks.Timeout(filter_program.LIMIT_S, filter_program.refusal(expression, -signal.SIGKILL, "")):
            output, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise filter_program.refusal(expression, process.returncode, errors.decode(errors="replace"))
    return filter_program.parse(output.decode())


def start_process(order: CaptureOrder, packets: socket.socket, listener: socket.socket) -> subprocess.Popen:
    """It gets both sockets, and outlives this process if its reader does."""
    files = (packets.fileno(), listener.fileno())
    argv = ["setpriv", "--no-new-privs", sys.executable, "-P", "-s", "-S", "-m", PROGRAM, *map(str, files)]
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=files,
        start_new_session=True,
        cwd="/",
        env={"PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"},
    )
    process.stdin.write(json.dumps(asdict(order)).encode())
    process.stdin.close()
    return process
