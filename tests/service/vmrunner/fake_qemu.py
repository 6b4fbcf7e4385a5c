"""Stands for qemu in the service tests: takes its command line, answers QMP, echoes its line, ends as told by signals.

SIGUSR1: the guest reboots; SIGUSR2: the guest powers off; SIGKILL: a crash. Its argv is kept beside its pid
file, and so are the commands that its monitor got.
"""

import json
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time

argv = sys.argv
if "--version" in argv:
    print("QEMU emulator version 0 (fake)")
    raise SystemExit
pid_file = pathlib.Path(argv[argv.index("-pidfile") + 1])
if "refuse" in argv[argv.index("-name") + 1]:
    raise SystemExit("qemu: this machine is refused")
listener = socket.socket(fileno=int(re.findall(r"id=qmp,fd=(\d+)", " ".join(argv))[0]))
listener.setblocking(True)  # eventlet's sockets are not
pid_file.write_text(str(os.getpid()))
pid_file.with_name("argv.json").write_text(json.dumps(argv))
client = None


def echo():
    while data := os.read(0, 1000):
        os.write(1, b"the guest got " + data)
    os.write(1, b"end of input")


def say(message):
    client.sendall(json.dumps(message).encode() + b"\n")


def end(reason):
    say({"event": "SHUTDOWN", "data": {"guest": reason.startswith("guest"), "reason": reason}})
    pid_file.unlink()
    os._exit(0)


threading.Thread(target=echo, daemon=True).start()
signal.signal(signal.SIGUSR1, lambda *_: end("guest-reset"))
signal.signal(signal.SIGUSR2, lambda *_: end("guest-shutdown"))
while True:
    again = client is not None
    client, _ = listener.accept()
    time.sleep(0.5 if again else 0)  # a busy one greets late
    say({"QMP": {}})
    for line in client.makefile():
        message = json.loads(line)
        command, arguments = message["execute"], message.get("arguments", {})
        with pid_file.with_name("monitor.log").open("a") as log:
            log.write(",".join([command, *(f"{name}={value}" for name, value in arguments.items())]) + "\n")
        if command == "quit":
            end("host-qmp-quit")
        say({"return": {}})
