"""The filter of a capture: tcpdump makes a program of it, for this device, in a process without rights. Pure.

For this device and not for files: only then the program looks for VLAN tags where the kernel has put them.
"""

from __future__ import annotations

from services.kit.unprivileged import NOBODY
from services.netemu.kernel.packet_socket import Instruction
from walt.contracts.errors import Failed, InvalidRequest

LIMIT_S = 5.0
SHOWN_CHARACTERS = 100  # of an expression that is refused
LIMITS = ("--cpu=3", f"--as={512 * 2**20}", "--nproc=0", "--fsize=0", "--core=0", "--nofile=32")
ENVIRONMENT = {"RES_OPTIONS": "timeout:1 attempts:1"}  # names of hosts may have to be looked up
LOOKS_LIKE = "a filter of tcpdump (man pcap-filter), such as 'icmp', 'tcp port 80' or 'ether host 52:54:00:00:00:02'"


def argv(device: str, expression: str) -> list[str]:
    """Of what the process may do, it needs raw sockets alone: it asks the kernel what it can filter."""
    rights = ("--no-new-privs", "--inh-caps=-all,+net_raw", "--ambient-caps=+net_raw")
    user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return [
        *("setpriv", *user, *rights),
        *("prlimit", *LIMITS, "--"),
        *("tcpdump", "--no-promiscuous-mode", "-ddd", f"--interface={device}", "--", expression),
    ]


def parse(output: str) -> list[Instruction]:
    """'2\\n40 0 0 12\\n…', what tcpdump prints."""
    try:
        count, *lines = output.split("\n")
        program = [_instruction(line) for line in lines if line]
        if len(program) == int(count) > 0:
            return program
    except ValueError:
        pass
    raise Failed(f"tcpdump prints no program of a filter: {output[:100]!r}")


def refusal(expression: str, status: int, errors: str) -> InvalidRequest:
    """status: of the process; negative: the signal that ended it."""
    shown = expression if len(expression) <= SHOWN_CHARACTERS else f"{expression[:SHOWN_CHARACTERS]}…"
    if status < 0:
        return InvalidRequest(f"filter '{shown}': it takes too much time or memory to compile; allowed: a shorter one")
    said = [line.removeprefix("tcpdump: ") for line in errors.splitlines() if line.strip()]
    reason = said[-1] if said else f"its compilation ended with status {status}"
    return InvalidRequest(f"filter '{shown}': {reason}; allowed: {LOOKS_LIKE}")


def _instruction(line: str) -> Instruction:
    code, jt, jf, k = map(int, line.split())
    return code, jt, jf, k
