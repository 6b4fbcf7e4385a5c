"""The interfaces of tunnels (ports/tunnel.py), in the kernel."""

from __future__ import annotations

from services.netemu.kernel import group_addresses
from services.netemu.kernel.host_stack import disable_host_stack
from services.netemu.kernel.netlink import SEGMENT_GROUP, Netlink
from services.netemu.kernel.steps import index_of, new_interface, redirect
from services.netemu.ports import tunnel
from services.netemu.ports.port import UNFINISHED, bridge_name
from walt.contracts.nodes import WALT_NET_ID


def make_tunnel(netlink: Netlink, network_id: int, vni: int, underlay: str) -> None:
    """From this address, to nowhere yet, and joined to the bridge of the network. Its checksums are on: pieces of two
    frames must not become one. The alias of the bridge's end comes last: then it is complete."""
    vxlan, bridge_end, tunnel_end = tunnel.names(network_id)
    alias, mtu = tunnel.tunnel_alias(underlay), tunnel.mtu_of(network_id)
    options = {"vxlan_id": vni, "vxlan_local": underlay, "vxlan_port": tunnel.VXLAN_PORT}
    with netlink.opened(vxlan) as ip:
        with new_interface(ip, vxlan, alias, kind="vxlan", **options, vxlan_learning=0, vxlan_udp_csum=1) as index:
            ip.link("set", index=index, mtu=mtu, IFLA_GROUP=SEGMENT_GROUP)
            disable_host_stack(UNFINISHED)
        with new_interface(ip, bridge_end, alias, kind="veth", peer={"ifname": tunnel_end}) as near:
            far = index_of(tunnel_end)
            for name, end in ((UNFINISHED, near), (tunnel_end, far)):
                ip.link("set", index=end, mtu=mtu, IFLA_GROUP=SEGMENT_GROUP)
                disable_host_stack(name)
            redirect(ip, index, far)
            redirect(ip, far, index)
            ip.link("set", index=far, IFLA_IFALIAS=alias, state="up")
            ip.link("set", index=near, master=index_of(bridge_name(network_id)))
            if network_id == WALT_NET_ID:
                ip.brport("set", index=near, learning=0)  # the registry says which addresses are behind it
            else:
                group_addresses.forward_on_port(ip, near)


def remove_tunnel(netlink: Netlink, network_id: int) -> None:
    for name in (tunnel.bridge_end_name(network_id), tunnel.vxlan_name(network_id)):  # the far end goes with the near
        netlink.remove(name)
