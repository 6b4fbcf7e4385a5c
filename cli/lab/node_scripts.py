"""Shell scripts in many nodes at once, and what they printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from walt.client import Client
from walt.contracts.nodes import NodeView

from ..sessions.parallel import NodeCommand, prefixes, run_commands
from ..sessions.terminal import LocalTerminal


@dataclass(frozen=True)
class ScriptResult:
    status: int
    output: str


class _Collector:
    """Keeps what a node prints on standard output; each line comes with the prefix."""

    def __init__(self, node: str) -> None:
        self.prefix = f"{node}: "
        self._parts: list[bytes] = []

    def write(self, data: bytes, stream: str) -> None:
        if stream == "out":
            self._parts.append(data)

    @property
    def text(self) -> str:
        lines = b"".join(self._parts).decode(errors="replace").splitlines()
        return "\n".join(line.removeprefix(self.prefix) for line in lines)


def run_all(client: Client, scripts: Sequence[tuple[NodeView, str]]) -> list[ScriptResult]:
    """In their order; a node may have several."""
    terminal = LocalTerminal(raw=False, has_input=False)
    collectors = [_Collector(node.name) for node, _ in scripts]
    commands = [
        (NodeCommand(node, one.prefix, one.write), as_argv(script))
        for (node, script), one in zip(scripts, collectors, strict=True)
    ]
    run_commands(client, commands, terminal)
    return [ScriptResult(command.status or 0, one.text) for (command, _), one in zip(commands, collectors, strict=True)]


def as_argv(script: str) -> list[str]:
    """Quoted, since the node's shell parses the words once more."""
    return ["sh", "-c", shlex.quote(script)]


def run_shown(client: Client, scripts: Sequence[tuple[NodeView, str]]) -> list[int]:
    """The status of each; what they print is shown, each line with the name of its node."""
    if not scripts:
        return []
    terminal = LocalTerminal(raw=False, has_input=False)
    names = prefixes([node.name for node, _ in scripts])
    commands = [
        (NodeCommand(node, prefix, terminal.write), as_argv(script))
        for (node, script), prefix in zip(scripts, names, strict=True)
    ]
    run_commands(client, commands, terminal)
    return [command.status or 0 for command, _ in commands]
