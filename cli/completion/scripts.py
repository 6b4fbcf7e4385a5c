"""Shell completion, based on click's: the scripts, and the process that a shell starts at each TAB.

That process prints nothing but candidates: a platform that does not answer in time has none to offer.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from walt.client import Client

from ..ui.tables import echo_data
from . import VARIABLE
from .candidates import complete_parameters

PROGRAM = "walt"
CLOSE_TIMEOUT_S = 0.2  # for closing the connection

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value response
    response=$(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete $1 2>/dev/null)
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            open) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Bash also splits words at '=' and ':', so the line is split here, and only what follows the last of these is
    returned. No blank is added after a candidate that is to be continued."""

    source_template = _BASH

    def source(self) -> str:
        return ShellComplete.source(self)  # without a run of bash to know its version

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        self._cut = max(incomplete.rfind(sign) for sign in "=:" if sign in os.environ.get("COMP_WORDBREAKS", "=:")) + 1
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        kind = "open" if item.type == "plain" and item.value.endswith(("=", "[", ",", ":")) else item.type
        return f"{kind},{item.value[self._cut :]}"


class _Fish(FishComplete):
    """Candidates may contain commas."""

    source_template = FishComplete.source_template.replace('string split "," ', 'string split --max 1 "," ')


SHELL_CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": _Fish}


def script(shell: str) -> str:
    # click's scripts use nothing of the tree but its name.
    return SHELL_CLASSES[shell](click.Group(PROGRAM), {}, PROGRAM, VARIABLE).source()


def complete(tree: click.Group, client: Client, instruction: str) -> NoReturn:
    """Print the candidates for the shell, then end the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        shell = SHELL_CLASSES[instruction.partition("_")[0]]
        complete_parameters(tree)
        echo_data(shell(tree, {"obj": client}, PROGRAM, VARIABLE).complete())
    except Exception:
        os._exit(1)  # whatever it is, it must not appear in the line that is being typed
    signal.signal(signal.SIGALRM, _exit_now)
    signal.setitimer(signal.ITIMER_REAL, CLOSE_TIMEOUT_S)
    client.close()
    os._exit(0)


def _exit_now(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(0)
