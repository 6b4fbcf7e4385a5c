"""Names of nodes, networks and users, and the reserved node sets.

Node names are DNS labels (RFC 1035, 2.3.1; at most 63 characters) because nodes know each other by name.
"""

from __future__ import annotations

import re

from walt.contracts.errors import InvalidRequest

WALT_NET = "walt-net"

MY_NODES = "my-nodes"
FREE_NODES = "free-nodes"
ALL_NODES = "all-nodes"
NODE_SETS = (MY_NODES, FREE_NODES, ALL_NODES)
RESERVED_NODE_NAMES = (*NODE_SETS, "server", "walt", "localhost", "default")

_NODE_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_USER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_PLATFORM_USER = re.compile(r"walt-.*|guest", re.ASCII)
_NETWORK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:/[A-Za-z][A-Za-z0-9_-]*)?", re.ASCII)
_LAB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
MAX_LAB_NAME = 20
MAX_NETWORK_NAME = 32  # also of one with a lab: it must fit the label of a port

NODE_NAME_RULE = "a letter first, then letters, digits and '-', no '-' last, at most 63 characters"
NETWORK_NAME_RULE = (
    "a letter first, then letters, digits, '-' and '_'; LAB/ before it for the network of a lab; "
    f"at most {MAX_NETWORK_NAME} characters altogether"
)
LAB_NAME_RULE = f"a letter first, then letters, digits, '-' and '_', at most {MAX_LAB_NAME} characters"
USER_NAME_RULE = (
    "a lower-case letter first, then lower-case letters, digits, '-' and '_', at most 32 characters; "
    "neither guest nor what begins with walt-"
)


def check_node_name(name: str) -> str:
    """The name as it is stored (lower case), or InvalidRequest."""
    if not _NODE_NAME.fullmatch(name):
        raise InvalidRequest(f"'{name}' is not a node name; allowed: {NODE_NAME_RULE}")
    if name.lower() in RESERVED_NODE_NAMES:
        raise InvalidRequest(f"'{name}' is a reserved word; reserved: {', '.join(RESERVED_NODE_NAMES)}")
    return name.lower()


def is_network_name(name: str) -> bool:
    """'home-net', or 'demo/home-net' of the lab demo."""
    return len(name) <= MAX_NETWORK_NAME and _NETWORK_NAME.fullmatch(name) is not None


def is_lab_name(name: str) -> bool:
    return len(name) <= MAX_LAB_NAME and _LAB_NAME.fullmatch(name) is not None


def is_user_name(name: str) -> bool:
    return _USER_NAME.fullmatch(name) is not None and not _PLATFORM_USER.fullmatch(name)


def check_user_name(name: str) -> str:
    if not is_user_name(name):
        raise InvalidRequest(f"'{name}' is not a user name; allowed: {USER_NAME_RULE}")
    return name


def check_one_node(text: str) -> str:
    """The text itself, unless it is a node set, be there one node in it."""
    if "," in text or text.strip().lower() in NODE_SETS:
        raise InvalidRequest(f"'{text}' is a node set; allowed here: the name of one node, not a set")
    return text


def split_selection(text: str) -> list[str]:
    """'a,my-nodes' -> ['a', 'my-nodes'], each once, in order; an empty item is refused."""
    items = [item.strip().lower() for item in text.split(",")]
    if not all(items):
        raise InvalidRequest(f"'{text}' is not a node set; allowed: names and {', '.join(NODE_SETS)}, split by commas")
    return list(dict.fromkeys(items))
