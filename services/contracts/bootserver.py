"""bootserver: OS images, boot plans, HTTP and NFS on walt-net, and "this node has booted".

Internal RPC:
  publish_boot(BootRequest) -> BootPlan      idempotent; from then on the node's ssh port is watched
  withdraw_boot(node_id)
  open_access(node_id) -> NodeAccess         how console logs in to a node
  list_images() -> [ImageView]     check_image(name) -> ImageView, or NotFound     diagnose() -> [Check]
Events: NODE_BOOTED (NodeBooted): the node of that run answers on its ssh port; vmrunner and netemu hear it
Hears: nodes NODE_REMOVED
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "bootserver"

NODE_BOOTED = "node_booted"

DEFAULT_IMAGE = "default"


@dataclass(frozen=True)
class BootRequest:
    """One boot of one node. run: vmrunner's count of power-ons, given back in NodeBooted."""

    node_id: int
    name: str
    run: int
    mac: str
    ip: str
    image: str
    cpu_cores: int


@dataclass(frozen=True)
class BootPlan:
    """script_url: an iPXE script; the rest is what a DHCP answer gives it (${ip}, ${netmask}, ${next-server}, …)."""

    script_url: str
    ip: str
    netmask: str
    gateway: str
    server: str


@dataclass(frozen=True)
class NodeBooted:
    node_id: int
    run: int
    at: float


@dataclass(frozen=True)
class NodeAccess:
    """ssh access: private_key in OpenSSH text, host_key as one `ssh-ed25519 AAAA…` for known_hosts."""

    ip: str
    user: str
    private_key: str
    host_key: str


@dataclass(frozen=True)
class ImageView:
    name: str
    owner: str  # "" for the platform's own
    created: float
    size_bytes: int
    kernel: str
