"""Stands for qemu in the service tests: takes its command line, answers QMP, echoes its line, ends as told by signals.

SIGUSR1: the guest reboots; SIGUSR2: the guest powers off; SIGHUP: it lets the devices go that were asked to;
SIGKILL: a crash. Its argv is kept beside its pid
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
devices = {}  # by id: [slot, netdev]
leaving = []


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


def let_go(*_):
    while leaving:
        devices.pop(leaving[-1])
        say({"event": "DEVICE_DELETED", "data": {"device": leaving.pop()}})


def add(properties):
    devices[properties["id"]] = [int(properties["addr"], 16), properties["netdev"]]


def answer(command, arguments):
    if command == "query-pci":
        slots = [{"slot": slot, "qdev_id": name} for name, (slot, _) in devices.items()]
        return [{"bus": 0, "devices": slots}]
    if command == "qom-get":
        return devices[arguments["path"].rpartition("/")[2]][1]
    if command == "device_add":
        add(arguments)
    if command == "device_del" and arguments["id"] not in leaving:
        leaving.append(arguments["id"])
    for device in devices.values() if command == "netdev_del" else ():
        device[1] = "" if device[1] == arguments["id"] else device[1]
    return {}


for word in argv:
    if word.startswith("virtio-net-pci,"):
        add(dict(one.split("=", 1) for one in word.split(",")[1:]))
threading.Thread(target=echo, daemon=True).start()
signal.signal(signal.SIGUSR1, lambda *_: end("guest-reset"))
signal.signal(signal.SIGHUP, let_go)
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
        number = {"id": message["id"]} if "id" in message else {}
        say({"return": answer(command, arguments), **number})
