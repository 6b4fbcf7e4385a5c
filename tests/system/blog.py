"""The blog post that is this project's specification, read for what it tells a person to type. Pure.

blog.txt is the text of https://walt-project.liglab.fr/blog/2025-09-walt-basics-virtual-nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).with_name("blog.txt").read_text()

_PROMPT = re.compile(r"\$ walt (?P<words>.*)")
_IN_NODE = re.compile(r"root@(?P<node>\w+):~# (?P<typed>.+)")
_NAMED = re.compile(r"(?:walt )(?P<words>(?:node|device) [a-z]+(?: <[a-z-]+>)?(?: vnode\d(?:,vnode\d)*)?)")
_ITEM = r"[A-Za-z0-9-]+(?:\[[^]]*])?"
_SETTING = re.compile(
    rf"(?<![\w\[])(?P<name>cpu\.cores|ram|boot\.delay|disks|networks|lat)=(?P<value>{_ITEM}(?:,{_ITEM})*)", re.ASCII
)
_ADVICE = re.compile(r"<ctrl-(?P<control>[a-z])> <(?P<key>[a-z])>")


@dataclass(frozen=True)
class Typed:
    """A command line of the post; in_node: what is then typed at the prompt of the node, up to its end."""

    words: str
    in_node: tuple[str, ...] = ()


def session() -> list[Typed]:
    """The lines that begin with `$ walt`, in order."""
    found: list[Typed] = []
    for line in TEXT.splitlines():
        if match := _PROMPT.fullmatch(line):
            found.append(Typed(match["words"]))
        elif match := _IN_NODE.fullmatch(line):
            found[-1] = Typed(found[-1].words, (*found[-1].in_node, match["typed"]))
        elif line == "^C":
            found[-1] = Typed(found[-1].words, (*found[-1].in_node, line))
    return found


def named_commands() -> set[str]:
    """Commands named in the prose: 'node create <name-of-the-node>', 'device config', …"""
    return {match["words"] for match in _NAMED.finditer(TEXT)}


def named_settings() -> set[str]:
    """Settings and link values named anywhere: 'disks=32G[template=ext4]', 'lat=10150us', …"""
    return {f"{match['name']}={match['value']}" for match in _SETTING.finditer(TEXT)}


def keys_that_leave() -> bytes:
    """What the post says to type to leave the console."""
    match = _ADVICE.search(TEXT)
    assert match is not None
    return bytes([ord(match["control"]) - ord("a") + 1]) + match["key"].encode()


def words(line: str, name: str) -> list[str]:
    """A command line of the post, with this name for <vnode>, <node> and <name-of-the-node>."""
    return re.sub(r"<[a-z-]+>", name, line).split()
