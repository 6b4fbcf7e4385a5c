"""Shell completion, on top of click's: the scripts, and the process that a shell starts at each TAB.

It says nothing but completions: a platform that does not answer, soon, has none to offer.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from cli.completion import VARIABLE
from cli.offers import declare_offers

PROGRAM = "walt"
GOODBYE_S = 0.2  # for the end of the connection

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
    """Bash splits words at '=' and ':' too: the line is split here, and only what follows the last of them is given
    back. No blank is put after what wants to go on."""

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
    """With commas in its words."""

    source_template = FishComplete.source_template.replace('string split "," ', 'string split --max 1 "," ')


CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": _Fish}


def script(shell: str) -> str:
    # click's scripts ask for no more of the tree than its name.
    return CLASSES[shell](click.Group(PROGRAM), {}, PROGRAM, VARIABLE).source()


def complete(tree: click.Group, client: Any, instruction: str) -> NoReturn:
    """Answer the shell. The process ends here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        shell = CLASSES[instruction.partition("_")[0]]
        declare_offers(tree)
        click.echo(shell(tree, {"obj": client}, PROGRAM, VARIABLE).complete())
    except Exception:
        os._exit(1)  # whatever it is, the line that is being typed is no place for it
    signal.signal(signal.SIGALRM, _leave)
    signal.setitimer(signal.ITIMER_REAL, GOODBYE_S)
    client.close()
    os._exit(0)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(0)
