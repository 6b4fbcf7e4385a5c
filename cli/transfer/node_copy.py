"""`walt node cp`: files and directories to and from a node, like `cp -r`, as tar over a session.

A copy is unpacked beside its destination and moved there when all of it has arrived.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from walt.client import Client
from walt.contracts import file_attributes
from walt.contracts.bootserver import COMPLETE, CONTENT
from walt.contracts.errors import Failed, InvalidRequest, NotFound
from walt.contracts.nodes import NodeView

from ..sessions.pipe import CommandEnded, CommandPipe
from ..ui.messages import print_message
from .copy_request import CopyPath, CopyRequest, check_left_out, local_destination
from .pack import pack, size_bytes
from .unpack import Destination

NOT_FOUND = 3  # exit status of the scripts
TAR_REPORTS_CHANGES = 1
_FAIL = """\
trap '' HUP
fail() { echo "$2" >&2; exit "$1"; }
"""
SEND_SCRIPT = (
    _FAIL
    + f"""\
src=$1
send() {{
    case $(tar --version 2>/dev/null) in
    *"GNU tar"*) exec tar -c -S --xattrs --xattrs-include='{file_attributes.OF_USERS}*' \\
        --pax-option=delete=atime,delete=ctime -f - "$1" ;;
    *) exec tar -c -f - "$1" ;;  # busybox has no such options
    esac
}}
[ -e "$src" ] || [ -L "$src" ] || fail 3 "there is no file '$src'"
real=$(readlink -f "$src")
case $real in
/proc/* | /sys/*)  # the kernel's files have no size, and tar would send them empty
    if [ ! -L "${{src%/}}" ]; then
        stage=$(mktemp -d) || fail 1 "nothing can be written in /tmp"
        trap 'rm -rf "$stage"' EXIT
        cp -R "${{src%/}}" "$stage/copy" || exit 1
        if [ -d "$stage/copy" ]; then
            cd "$stage/copy" && tar -c -f - .
        else
            cd "$stage" && mv copy "$(basename "$src")" && tar -c -f - "./$(basename "$src")"
        fi
        exit
    fi
    ;;
esac
if [ -d "$src" ] && {{ [ ! -L "$src" ] || [ "${{src%/}}" != "$src" ]; }}; then
    cd "$src" && send .
fi
cd "$(dirname "$src")" && send "./$(basename "$src")"
"""
)
RECEIVE_SCRIPT = (
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
dst=$1 name=$2 into=$3 needed_kib=$4
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
free_kib=$(df -P -k "$parent" 2>/dev/null | {{ read -r _ && read -r _ _ _ free _ && echo "$free"; }})
if [ -n "$free_kib" ] && [ "$free_kib" -lt "$needed_kib" ]; then
    fail 1 "what is to be copied takes $needed_kib KiB; free in '$parent': $free_kib KiB"
fi
stage=$(mktemp -d "$parent/.walt-cp-XXXXXX") || fail 1 "nothing can be written in '$parent'"
trap 'rm -rf "$stage"' EXIT
{file_attributes.SET_TAR_OPTIONS}
tar -x -p "$@" -f - -C "$stage" || exit 1
[ -e "$stage/{COMPLETE}" ] || fail 1 "the copy was cut off"
settle "$stage/{CONTENT}" "$target"
"""
)

# GNU tar, about files that were written to while it read them: what it has sent is complete.
_HARMLESS = re.compile(
    r"tar: .*: (file changed as we read it|File removed before we read it)|tar: .*Removing leading.*"
)


def parse_endpoint(text: str) -> CopyPath:
    """'vnode1:/etc' is on a node, './a:b' and '/a:b' are on this computer. 'vnode1:' is the home of root. Pure."""
    node, colon, path = text.partition(":")
    if not colon or not node or "/" in node:
        if not text:
            raise InvalidRequest("'' is not a path; allowed: a path of this computer, or NODE:PATH")
        return CopyPath("", text)
    if path == "~" or path.startswith("~/"):
        path = path[1:].lstrip("/")  # relative paths begin at the home of root
    return CopyPath(node, path or ".")


def parse_request(sources: Sequence[str], target: str) -> CopyRequest:
    """Pure."""
    request = CopyRequest(tuple(map(parse_endpoint, sources)), parse_endpoint(target))
    on_nodes = [one for one in request.sources if one.remote]
    if request.target.remote and on_nodes:
        raise InvalidRequest(
            f"'{on_nodes[0].remote}:{on_nodes[0].path}' and '{target}' are both on nodes; "
            "allowed: one side on this computer"
        )
    if not request.target.remote and len(on_nodes) < len(request.sources):
        local = next(one.path for one in request.sources if not one.remote)
        raise InvalidRequest(f"'{local}' and '{target}' are both on this computer; allowed: one side as NODE:PATH")
    return request


def run(client: Client, request: CopyRequest, nodes: Sequence[NodeView]) -> None:
    by_name = {node.name: node for node in nodes}
    for source in request.sources:
        if request.target.remote:
            _send(client, by_name[request.target.remote], source, request)
        else:
            _fetch(client, by_name[source.remote], source, request)


def _send(client: Client, node: NodeView, source: CopyPath, request: CopyRequest) -> None:
    into = "yes" if request.needs_directory else "no"
    needed_kib = str(-(-size_bytes(source.path) // 1024))
    command = _command(RECEIVE_SCRIPT, request.target.path, source.name, into, needed_kib)
    left_out: list[str] = []
    with CommandPipe(client, node, command, f"to {node.name}") as pipe:
        try:
            left_out = pack(source.path, pipe)
        except CommandEnded:
            pass
        except OSError as error:
            raise Failed(f"'{error.filename or source.path}' cannot be read: {error.strerror or error}") from error
        _check_end(pipe, node)
    check_left_out(left_out)


def _fetch(client: Client, node: NodeView, source: CopyPath, request: CopyRequest) -> None:
    with local_destination(request, source) as destination:
        with CommandPipe(client, node, _command(SEND_SCRIPT, source.path), f"from {node.name}") as pipe:
            left_out = _receive(pipe, node, destination)
        destination.settle()
    check_left_out([f"{node.name}:{source.path}/{name}" for name in left_out])


def _receive(pipe: CommandPipe, node: NodeView, destination: Destination) -> list[str]:
    try:
        left_out = destination.receive(pipe)
    except Failed:
        if pipe.status:  # why the command was cut off says more
            _check_end(pipe, node)
        raise
    _check_end(pipe, node)
    return left_out


def _check_end(pipe: CommandPipe, node: NodeView) -> None:
    status, lines = pipe.finish(), pipe.stderr.splitlines()
    if status == 0 or (status == TAR_REPORTS_CHANGES and lines and all(map(_HARMLESS.fullmatch, lines))):
        for line in lines:
            print_message(f"{node.name}: {line}")
        return
    sentences = [f"{node.name}: {line}" for line in lines or [f"the copy ended with status {status}"]]
    raise (NotFound if status == NOT_FOUND else Failed)(*sentences)


def _command(script: str, *arguments: str) -> list[str]:
    """As argv, each argument quoted, since the node's shell parses them once more."""
    return ["sh", "-c", *(shlex.quote(one) for one in (script, "walt-cp", *arguments))]
