"""`walt node cp`: files and directories to and from a node, as `cp -r` has it, by tar over a session.

A copy is unpacked beside its destination and moved there when all of it has come.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.archive import Unpacked, pack, unpack
from cli.output import say
from cli.pipe import Ended, Pipe
from cli.waiting import Node
from services.contracts.bootserver import COMPLETE, CONTENT
from services.contracts.errors import Failed, InvalidRequest, NotFound

NOT_FOUND = 3  # exit status of the scripts
TAR_SAYS_CHANGED = 1
_FAIL = """\
trap '' HUP
fail() { echo "$2" >&2; exit "$1"; }
"""
SEND_SCRIPT = (
    _FAIL
    + """\
src=$1
[ -e "$src" ] || [ -L "$src" ] || fail 3 "there is no file '$src'"
if [ -d "$src" ] && { [ ! -L "$src" ] || [ "${src%/}" != "$src" ]; }; then
    cd "$src" && exec tar -c -f - .
fi
cd "$(dirname "$src")" && exec tar -c -f - "./$(basename "$src")"
"""
)
TAKE_SCRIPT = (
    _FAIL
    + f"""\
put() {{
    if [ -d "$1" ] && [ ! -L "$1" ]; then
        [ -e "$2" ] || [ -L "$2" ] && fail 1 "'$2' is not a directory; what is to be copied is one"
    elif [ -d "$2" ]; then
        fail 1 "'$2' is a directory; what is to be copied is not"
    elif [ -e "$2" ] && [ ! -f "$2" ]; then
        fail 1 "'$2' is neither a file nor a directory"
    elif [ -L "$1" ]; then
        rm -f "$2"
    elif [ -e "$2" ]; then
        mv -f "$1" "$(readlink -f "$2")"
        return
    fi
    mv -f "$1" "$2"
}}
settle() {{
    if [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$2" ]; then
        for one in "$1"/* "$1"/.[!.]* "$1"/..?*; do
            if [ -e "$one" ] || [ -L "$one" ]; then settle "$one" "$2/${{one##*/}}" || return; fi
        done
    else
        put "$1" "$2"
    fi
}}
dst=$1 name=$2 into=$3
if [ -d "$dst" ]; then
    target=$dst
    [ -z "$name" ] || target=${{dst%/}}/$name
elif [ -e "$dst" ] && [ "$into" = yes ]; then
    fail 1 "'$dst' is not a directory"
elif [ "$into" = yes ]; then
    fail 3 "there is no directory '$dst'"
else
    target=$dst
fi
parent=$target
[ -d "$parent" ] || parent=$(dirname "$target")
[ -d "$parent" ] || fail 3 "there is no directory '$parent'"
stage=$(mktemp -d "$parent/.walt-cp-XXXXXX") || fail 1 "nothing can be written in '$parent'"
trap 'rm -rf "$stage"' EXIT
tar -x -p -f - -C "$stage" || exit 1
[ -e "$stage/{COMPLETE}" ] || fail 1 "the copy was cut off"
settle "$stage/{CONTENT}" "$target"
"""
)

# GNU tar, of files that others write to while it reads them: what it sent is whole.
_HARMLESS = re.compile(
    r"tar: .*: (file changed as we read it|File removed before we read it)|tar: .*Removing leading.*"
)


@dataclass(frozen=True)
class Place:
    """node: "" for this computer."""

    node: str
    path: str

    @property
    def name(self) -> str:
        """What it is called in the directory it is copied into; "" when it is its content that is copied."""
        name = posixpath.basename(posixpath.normpath(self.path)) if self.path else ""
        return "" if name in (".", "..") else name


@dataclass(frozen=True)
class Copy:
    """Several sources, one destination; one side of it is a node."""

    sources: tuple[Place, ...]
    target: Place

    @property
    def nodes(self) -> list[str]:
        return list(dict.fromkeys(one.node for one in (*self.sources, self.target) if one.node))

    @property
    def needs_directory(self) -> bool:
        return len(self.sources) > 1 or self.target.path.endswith("/")


def parse_place(text: str) -> Place:
    """'vnode1:/etc' is on a node; a file of ours with ':' in its name is './a:b'. 'vnode1:' is root's home. Pure."""
    node, colon, path = text.partition(":")
    if not colon or not node or "/" in node:
        if not text:
            raise InvalidRequest("'' is not a path; allowed: a path of this computer, or NODE:PATH")
        return Place("", text)
    if path == "~" or path.startswith("~/"):
        path = path[1:].lstrip("/")  # relative to the home of root as it is
    return Place(node, path or ".")


def parse_copy(sources: Sequence[str], target: str) -> Copy:
    """Pure."""
    copy = Copy(tuple(parse_place(one) for one in sources), parse_place(target))
    remote = [one for one in copy.sources if one.node]
    if copy.target.node and remote:
        raise InvalidRequest(
            f"'{remote[0].node}:{remote[0].path}' and '{target}' are both on nodes; allowed: one side on this computer"
        )
    if not copy.target.node and len(remote) < len(copy.sources):
        local = next(one.path for one in copy.sources if not one.node)
        raise InvalidRequest(f"'{local}' and '{target}' are both on this computer; allowed: one side as NODE:PATH")
    return copy


def check_here(copy: Copy) -> None:
    """What can be known before any node is asked."""
    for source in copy.sources:
        if copy.target.node and not os.path.lexists(source.path):
            raise NotFound(f"there is no file '{source.path}' on this computer")
    if not copy.target.node:
        local_target(copy, copy.sources[0])


def run(client: Any, copy: Copy, nodes: Sequence[Node]) -> None:
    by_name = {node["name"]: node for node in nodes}
    for source in copy.sources:
        if copy.target.node:
            _send(client, by_name[copy.target.node], source, copy)
        else:
            _fetch(client, by_name[source.node], source, copy)


def _send(client: Any, node: Node, source: Place, copy: Copy) -> None:
    into = "yes" if copy.needs_directory else "no"
    left_out: list[str] = []
    with Pipe(client, node, _command(TAKE_SCRIPT, copy.target.path, source.name, into), f"to {node['name']}") as pipe:
        try:
            left_out = pack(source.path, pipe)
        except Ended:
            pass
        except OSError as error:
            raise Failed(f"'{error.filename or source.path}' cannot be read: {error.strerror or error}") from error
        _check_end(pipe, node)
    check_left_out(left_out)


def _fetch(client: Any, node: Node, source: Place, copy: Copy) -> None:
    target = local_target(copy, source)
    beside = target if os.path.isdir(target) else os.path.dirname(target) or "."
    try:
        with tempfile.TemporaryDirectory(prefix=".walt-cp-", dir=beside, ignore_cleanup_errors=True) as stage:
            with Pipe(client, node, _command(SEND_SCRIPT, source.path), f"from {node['name']}") as pipe:
                unpacked = _receive(pipe, node, stage)
            unpacked.settle(target)
    except OSError as error:
        raise Failed(f"'{target}' cannot be written: {error.strerror or error}") from error
    check_left_out([f"{node['name']}:{source.path}/{name}" for name in unpacked.left_out])


def _receive(pipe: Pipe, node: Node, stage: str) -> Unpacked:
    try:
        unpacked = unpack(pipe, stage)
    except Failed:
        if pipe.status:  # why it was cut off says more
            _check_end(pipe, node)
        raise
    _check_end(pipe, node)
    return unpacked


def _check_end(pipe: Pipe, node: Node) -> None:
    status, lines = pipe.finish(), pipe.said.splitlines()
    if status == 0 or (status == TAR_SAYS_CHANGED and lines and all(map(_HARMLESS.fullmatch, lines))):
        for line in lines:
            say(f"{node['name']}: {line}")
        return
    sentences = [f"{node['name']}: {line}" for line in lines or [f"the copy ended with status {status}"]]
    raise (NotFound if status == NOT_FOUND else Failed)(*sentences)


def check_left_out(paths: Sequence[str]) -> None:
    if paths:
        raise Failed(*(f"'{path}' is neither file, directory nor link: it was left out" for path in paths))


def local_target(copy: Copy, source: Place) -> str:
    path = copy.target.path
    if os.path.isdir(path):
        return os.path.join(path, source.name) if source.name else path
    if copy.needs_directory:
        if os.path.lexists(path):
            raise Failed(f"'{path}' is not a directory")
        raise NotFound(f"there is no directory '{path}' on this computer")
    parent = os.path.dirname(path) or "."
    if not os.path.isdir(parent):
        raise NotFound(f"there is no directory '{parent}' on this computer")
    return path


def _command(script: str, *arguments: str) -> list[str]:
    """The words are joined and read again by the node's shell."""
    return ["sh", "-c", *(shlex.quote(word) for word in (script, "walt-cp", *arguments))]
