"""Where a boot script may fetch from: its own node's files on bootserver, and nowhere else. Pure.

What is its own node's, bootserver decides: each request names the node by its address, and no script can change that.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from walt.contracts.errors import Failed

TFTP = "tftp"
_OF_A_NODE = re.compile(r"/boot/(\d{1,18})/")


@dataclass(frozen=True)
class Origin:
    """netloc: HOST or HOST:PORT of bootserver. The node is told apart by these values, and not by the variables of the
    script, which it can set as it likes."""

    netloc: str
    node_id: int
    node_ip: str

    def http_url(self, url: str) -> str:
        """The URL by which bootserver serves it over HTTP, also what a physical machine would fetch by tftp, with the
        address of the node, from which a physical machine would fetch it. Failed when it is not allowed."""
        parts = _split(url)
        if parts.scheme not in ("http", TFTP):
            raise Failed(f"{url}: only http:// and tftp:// can be fetched")
        if parts.netloc not in (self.netloc, self._host) or (parts.scheme == TFTP and ":" in parts.netloc):
            raise Failed(f"{url}: a boot script may fetch from {self.netloc} only")
        path = urllib.parse.unquote(parts.path)  # as the server reads it
        if ".." in path.split("/"):
            raise Failed(f"{url}: a path with '..' is not allowed")
        node = _OF_A_NODE.match(path)
        if node and int(node[1]) != self.node_id:
            raise Failed(f"{url}: these are the files of another node")
        query = urllib.parse.urlencode({"node_ip": self.node_ip})
        return urllib.parse.urlunsplit(("http", self.netloc, urllib.parse.quote(path), query, ""))

    @property
    def _host(self) -> str:
        return self.netloc.partition(":")[0]


def origin_of(script_url: str, node_id: int, node_ip: str) -> Origin:
    """script_url: of the first script, as bootserver has told it."""
    return Origin(urllib.parse.urlsplit(script_url).netloc, node_id, node_ip)


def joined(base: str, target: str) -> str:
    """The URL of a path in the script `base`. urllib joins http but not tftp URLs."""
    _split(target)
    scheme = base.partition(":")[0]
    if scheme != TFTP or "://" in target:
        return urllib.parse.urljoin(base, target)
    return TFTP + urllib.parse.urljoin("http" + base.removeprefix(TFTP), target).removeprefix("http")


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError as error:
        raise Failed(f"{url}: not a URL ({error})") from None
