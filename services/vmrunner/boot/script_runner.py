"""Runs a boot script in a process of its own (script_process.py), as an unprivileged user, and does what it requests.

files = run_script(host, uid, "http://server/boot.ipxe", {"mac": "52:54:00:…"})
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from services.vmrunner.boot.ipxe import Boot, ScriptEnded
from services.vmrunner.boot.script_host import LoadedFiles, ScriptHost
from services.vmrunner.boot.script_parser import ScriptError
from walt.contracts import serialization
from walt.contracts.errors import Failed, InvalidRequest

PROGRAM = "services.vmrunner.boot.script_process"
CHECKOUT = Path(__file__).parents[3]
MAX_MESSAGE_BYTES = 2**18
SEND_LIMIT_S = 5.0
LOOK_S = 0.2  # between two looks whether this boot is still wanted
END_LIMIT_S = 2.0
SHOWN_CHARS = 200  # of its last words
REASON_CHARS = 2000


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Fetch:
    url: str


@dataclass(frozen=True)
class Fail:
    reason: str


def run_script(host: ScriptHost, uid: int, url: str, variables: dict[str, str]) -> LoadedFiles:
    """What the script decided to boot; ScriptError when it does not come to that, or its process ends. What `host`
    raises ends the process."""
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as errors:
        with theirs:
            process = _start(uid, theirs, errors)
        try:
            _send(ours, {"url": url, "variables": variables})
            return _serve(ours, host)
        except ScriptEnded as why:
            raise ScriptError(str(why)) from None
        except InvalidRequest as error:
            raise ScriptError(f"the process of the boot script sends what it should not: {error}") from None
        except (ConnectionError, EOFError):
            raise ScriptError(f"the process of the boot script ended: {_last_words(process, errors)}") from None
        finally:
            process.kill()
            process.wait()


def _start(uid: int, connection: socket.socket, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    file = connection.fileno()
    os.set_blocking(file, True)  # sockets of a process of green threads are not
    argv = ["setpriv", "--no-new-privs", sys.executable, "-P", "-s", "-S", "-m", PROGRAM, str(uid)]
    env = {"PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"}
    return subprocess.Popen(argv, stdin=file, stdout=file, stderr=errors, cwd="/", env=env)


def _serve(connection: socket.socket, host: ScriptHost) -> LoadedFiles:
    """Answers its requests, up to the last."""
    buffer = bytearray()
    while True:
        message = _receive(connection, buffer, host.check)
        what = message.get("do")
        if what == "boot":
            return host.loaded(serialization.load(Boot, message))
        if what == "fail":
            raise ScriptError(serialization.load(Fail, message).reason[:REASON_CHARS])
        _send(connection, _answer(host, what, message))


def _answer(host: ScriptHost, what: object, message: dict[str, Any]) -> dict[str, Any]:
    try:
        match what:
            case "say":
                host.say(serialization.load(Say, message).text)
                return {}
            case "text":
                return {"text": host.text(serialization.load(Fetch, message).url)}
            case "file":
                return asdict(host.file(serialization.load(Fetch, message).url))
    except Failed as error:
        return {"error": str(error)}
    raise InvalidRequest(f"'{str(what)[:SHOWN_CHARS]}' is not a request")


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.settimeout(SEND_LIMIT_S)
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except TimeoutError:
        raise InvalidRequest(f"nothing, and reads nothing for {SEND_LIMIT_S:g} s") from None


def _receive(connection: socket.socket, buffer: bytearray, check: Callable[[], None]) -> dict[str, Any]:
    """The next message. buffer: what has come of it before; check: called now and then."""
    connection.settimeout(LOOK_S)
    time.sleep(0)  # others have their turn, however much it sends
    while b"\n" not in buffer:
        if len(buffer) > MAX_MESSAGE_BYTES:
            raise InvalidRequest(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
        check()
        try:
            piece = connection.recv(MAX_MESSAGE_BYTES)
        except TimeoutError:
            continue
        if not piece:
            raise EOFError
        buffer += piece
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    try:
        message = json.loads(line)
        json.dumps(message, ensure_ascii=False).encode()  # no half characters, which nobody else takes
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InvalidRequest("what is no message")
    return message


def _last_words(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    """How it ended, and the last line of its standard error."""
    try:
        status = process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    end = signal.Signals(-status).name if status < 0 else f"status {status}"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"{end}: {lines[-1][:SHOWN_CHARS]}" if lines else end
