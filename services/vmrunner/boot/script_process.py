"""The process in which one boot script runs: `python -P -s -S -m services.vmrunner.boot.script_process UID`.

It speaks with script_runner.py on its standard input and output, which are one socket: JSON, a message a line. First it
gets {"url": …, "variables": …}; then each of its requests, {"do": WHAT, …}, is answered, by {"error": …} or the result:

    say text → {}    text url → {"text": …}    file url → {"number": …, "size_bytes": …}

and it ends with `boot` (the fields of ipxe.Boot) or `fail` (a reason). What the script is made of is a user's: before
the first byte of it, this process gives up its rights. It can open nothing, start nothing and take little.

Few imports: every boot starts one.
"""

from __future__ import annotations

import json
import resource
import select
import sys
import unicodedata  # noqa: F401 (urllib.parse imports it when it needs it, too late)
from typing import Any

from services.kit.unprivileged import give_up_rights
from services.vmrunner.boot.ipxe import Boot, Interpreter, LoadedFile
from services.vmrunner.boot.script_parser import ScriptError
from walt.contracts.errors import Failed

MEMORY_BYTES = 2**27
CPU_S = 10
OUTPUT_BYTES = 2**16  # of its standard error, a file
LIMITS = {
    resource.RLIMIT_AS: MEMORY_BYTES,
    resource.RLIMIT_CPU: CPU_S,
    resource.RLIMIT_FSIZE: OUTPUT_BYTES,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_NOFILE: 3,  # standard input, output and error
}


class RemoteHost:
    """See ipxe.Host."""

    def say(self, text: str) -> None:
        self._request("say", text=text)

    def sleep(self, seconds: float) -> None:
        if select.select([0], [], [], seconds)[0]:
            raise SystemExit  # nothing is to come: vmrunner has ended

    def text(self, url: str) -> str:
        return str(self._request("text", url=url)["text"])

    def file(self, url: str) -> LoadedFile:
        return LoadedFile(**self._request("file", url=url))

    def _request(self, what: str, **fields: Any) -> dict[str, Any]:
        send(what, **fields)
        answer = receive()
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


def send(what: str, **fields: Any) -> None:
    sys.stdout.buffer.write(json.dumps({"do": what, **fields}).encode() + b"\n")
    sys.stdout.buffer.flush()


def receive() -> dict[str, Any]:
    line = sys.stdin.buffer.readline()
    if not line:
        raise SystemExit  # vmrunner has ended
    message: dict[str, Any] = json.loads(line)
    return message


def main() -> None:
    give_up_rights(int(sys.argv[1]), LIMITS)
    start = receive()
    try:
        boot: Boot = Interpreter(RemoteHost()).run(start["url"], start["variables"])
    except ScriptError as error:
        send("fail", reason=str(error))
        return
    send("boot", **vars(boot))


if __name__ == "__main__":
    main()
