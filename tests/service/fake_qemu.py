"""Stands for qemu in the service tests: takes its command line, answers QMP, ends as told by signals.

SIGUSR1: the guest reboots; SIGUSR2: the guest powers off; SIGKILL: a crash. Its argv is kept beside its pid file.
"""

import json
import os
import pathlib
import re
import signal
import socket
import sys

argv = sys.argv
if "--version" in argv:
    print("QEMU emulator version 0 (fake)")
    raise SystemExit
pid_file = pathlib.Path(argv[argv.index("-pidfile") + 1])
if "refuse" in argv[argv.index("-name") + 1]:
    raise SystemExit("qemu: this machine is refused")
listener = socket.socket(fileno=int(re.search(r"id=qmp,fd=(\d+)", " ".join(argv))[1]))
listener.setblocking(True)  # eventlet's sockets are not
pid_file.write_text(str(os.getpid()))
pid_file.with_name("argv.json").write_text(json.dumps(argv))
client = None


def say(message):
    client.sendall(json.dumps(message).encode() + b"\n")


def end(reason):
    say({"event": "SHUTDOWN", "data": {"guest": reason.startswith("guest"), "reason": reason}})
    pid_file.unlink()
    os._exit(0)


signal.signal(signal.SIGUSR1, lambda *_: end("guest-reset"))
signal.signal(signal.SIGUSR2, lambda *_: end("guest-shutdown"))
while True:
    client, _ = listener.accept()
    say({"QMP": {}})
    for line in client.makefile():
        if json.loads(line)["execute"] == "quit":
            end("host-qmp-quit")
        say({"return": {}})
