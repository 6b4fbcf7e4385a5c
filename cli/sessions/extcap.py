"""`walt-extcap`: links of the user's nodes in the list of interfaces of Wireshark, as its extcap interface has it.

Wireshark runs what is in its folder for that (Help, About, Folders), once for each question:

    --extcap-interfaces                                   which there are
    --extcap-interface NAME --extcap-dlts | --extcap-config
    --extcap-interface NAME --capture --fifo FILE [--extcap-capture-filter EXPR]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence

from walt.client import Client
from walt.contracts import network_uses
from walt.contracts.errors import WaltError
from walt.contracts.names import MY_NODES
from walt.contracts.nodes import NodeView

from ..ui.messages import print_message
from ..ui.tables import echo_data
from ..ui.wait import get_node, get_nodes
from . import capture

PREFIX = "walt-"
ETHERNET = "dlt {number=1}{name=EN10MB}{display=Ethernet}"
ABOUT = "extcap {version=0.1}{display=walt}"


def main() -> int:
    """The exit code; what went wrong is on standard error, which Wireshark shows."""
    asked, _ = _parser().parse_known_args()
    client = Client()
    try:
        return _answer(client, asked)
    except WaltError as error:
        print_message(f"walt: {error}")
        return error.exit_code
    finally:
        client.close()


def interfaces(nodes: Sequence[NodeView]) -> Iterator[tuple[str, str]]:
    """(name, what is shown) of each link: 'walt-vnode1:home-net'."""
    for node in nodes:
        for use in network_uses.parse_networks(node.config["networks"]):
            yield f"{PREFIX}{node.name}:{use.name}", f"walt: {node.name} on {use.name}"


def _answer(client: Client, asked: argparse.Namespace) -> int:
    if asked.interfaces:
        echo_data(ABOUT)
        with contextlib.suppress(WaltError):  # Wireshark starts without a platform too
            for name, shown in interfaces(get_nodes(client, MY_NODES)):
                echo_data(f"interface {{value={name}}}{{display={shown}}}")
    elif asked.dlts:
        echo_data(ETHERNET)
    elif asked.capture:
        return _capture(client, asked)
    return 0


def _capture(client: Client, asked: argparse.Namespace) -> int:
    node, _, network = asked.interface.removeprefix(PREFIX).partition(":")
    sink = capture.sink_of(asked.fifo, wireshark=False)
    return capture.capture(client, get_node(client, node), network, asked.filter, 0, sink)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="walt-extcap", allow_abbrev=False, description=__doc__)
    parser.add_argument("--extcap-interfaces", dest="interfaces", action="store_true")
    parser.add_argument("--extcap-dlts", dest="dlts", action="store_true")
    parser.add_argument("--extcap-config", dest="config", action="store_true")
    parser.add_argument("--extcap-interface", dest="interface", default="", metavar="NAME")
    parser.add_argument("--extcap-capture-filter", dest="filter", default="", metavar="EXPR")
    parser.add_argument("--capture", action="store_true")
    parser.add_argument("--fifo", default=capture.STANDARD_OUTPUT, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
