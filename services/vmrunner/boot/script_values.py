"""The variables of a boot script, `${name}` and `${name:form}`, and how its words are quoted in errors. Pure.

A form shows the bytes of a value, as iPXE does: six of a MAC address, four of an IPv4 address, and UTF-8 of other text.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from walt.contracts.errors import Failed

SHOWN_CHARS = 60  # of a word that is refused
SHOWN_WORDS = 8  # of those that are allowed

_VARIABLE = re.compile(r"\$\{([^${}]*)\}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_INTERFACES = ("net0/", "netX/")  # the one that the node boots from


def listed(words: Sequence[str]) -> str:
    """For "allowed: …". A script may have many labels, and long ones."""
    shown = ", ".join(word[:SHOWN_CHARS] for word in words[:SHOWN_WORDS])
    return f"{shown}, …" if len(words) > SHOWN_WORDS else shown or "none, there is none"


def expand(word: str, variables: dict[str, str], limit_chars: int) -> str:
    """'${mac:hexhyp}' -> '52-54-00-…'; a variable that is not set is empty, as in iPXE. Failed for an unknown form, and
    above the limit, before more memory than that is used."""
    parts: list[str] = []
    at = total = 0
    for match in _VARIABLE.finditer(word):
        parts += [word[at : match.start()], _value(match[1], variables)]
        total += len(parts[-2]) + len(parts[-1])
        at = match.end()
        if total > limit_chars:
            break
    if total + len(word) - at > limit_chars:
        raise Failed("a command that is too long once its variables are expanded")
    return "".join([*parts, word[at:]])


def _value(reference: str, variables: dict[str, str]) -> str:
    name, colon, form = reference.partition(":")
    value = _variable(name, variables)
    if not colon:
        return value
    if form not in _FORMS:
        raise Failed(f"'{form[:SHOWN_CHARS]}' is not a known form of a variable; allowed: {', '.join(_FORMS)}")
    return _FORMS[form](value) if value else ""


def _variable(name: str, variables: dict[str, str]) -> str:
    if name not in variables:
        for prefix in _INTERFACES:
            name = name.removeprefix(prefix)
    return variables.get(name, "")


def _raw(value: str) -> bytes:
    if _MAC.fullmatch(value):
        return bytes.fromhex(value.replace(":", ""))
    try:
        return ipaddress.IPv4Address(value).packed
    except ValueError:
        return value.encode()


def _hex(separator: str) -> Callable[[str], str]:
    return lambda value: separator.join(f"{byte:02x}" for byte in _raw(value))


def _number(bits: int, is_signed: bool) -> Callable[[str], str]:
    """Signed ones are shown as decimal, others as hexadecimal."""

    def shown(value: str) -> str:
        raw = _raw(value)
        if len(raw) * 8 > bits:
            raise Failed(f"'{value[:SHOWN_CHARS]}' has more than {bits} bits")
        number = int.from_bytes(raw, "big", signed=is_signed)
        return str(number) if is_signed else f"{number:#x}"

    return shown


def _ipv4(value: str) -> str:
    raw = _raw(value)
    if len(raw) != 4:
        raise Failed(f"'{value[:SHOWN_CHARS]}' is not an IPv4 address")
    return str(ipaddress.IPv4Address(raw))


_FORMS: dict[str, Callable[[str], str]] = {
    "string": str,
    "uristring": lambda value: quote(value, safe=""),
    "ipv4": _ipv4,
    "ip": _ipv4,
    "hex": _hex(":"),
    "hexhyp": _hex("-"),
    "hexraw": _hex(""),
    "base64": lambda value: binascii.b2a_base64(_raw(value), newline=False).decode(),
    **{f"int{bits}": _number(bits, is_signed=True) for bits in (8, 16, 32)},
    **{f"uint{bits}": _number(bits, is_signed=False) for bits in (8, 16, 32)},
}
