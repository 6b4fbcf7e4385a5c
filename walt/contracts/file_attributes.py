"""Which extended attributes of files and directories go where they are copied, and how a tar has them. Pure.

Those of users, and the capabilities of a program. Others say how a kernel sees a file: labels, signatures, and
`trusted.*`, which overlayfs believes.
"""

from __future__ import annotations

from collections.abc import Mapping

OF_USERS = "user."
CAPABILITY = "security.capability"

# They choose the format "posix".
TAR_OPTIONS = ("--xattrs", f"--xattrs-include={OF_USERS}*", f"--xattrs-include={CAPABILITY}")

# For a shell: its arguments become these options, or none where tar is busybox's, which has no such options.
SET_TAR_OPTIONS = f"""set --
case $(tar --version 2>/dev/null) in
*"GNU tar"*) set -- {" ".join(f"'{option}'" for option in TAR_OPTIONS)} ;;
esac"""

_KEYWORD = "SCHILY.xattr."  # of GNU tar, bsdtar, star


def is_copied(name: str) -> bool:
    return name.startswith(OF_USERS) or name == CAPABILITY


def tar_records(attributes: Mapping[str, bytes]) -> bytes:
    """The content of a pax header with these attributes."""
    return b"".join(_record(name, value) for name, value in attributes.items())


def _record(name: str, value: bytes) -> bytes:
    """'LENGTH KEYWORD=VALUE\\n', of which LENGTH counts itself too."""
    keyword = _KEYWORD + name.replace("%", "%25").replace("=", "%3D")
    rest = b" " + keyword.encode(errors="surrogateescape") + b"=" + value + b"\n"
    length = len(rest)
    while length != (counted := len(rest) + len(str(length))):
        length = counted
    return str(length).encode() + rest


def of_tar(headers: Mapping[str, str]) -> dict[str, bytes]:
    """The attributes among the pax headers that tarfile has read. Others than `is_copied` names are left out."""
    found = {
        keyword.removeprefix(_KEYWORD).replace("%3D", "=").replace("%25", "%"): value
        for keyword, value in headers.items()
        if keyword.startswith(_KEYWORD)
    }
    return {name: value.encode(errors="surrogateescape") for name, value in found.items() if is_copied(name)}
