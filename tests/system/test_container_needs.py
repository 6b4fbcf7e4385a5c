"""What Docker, podman and k3s need of a node of the default image; docs/images.md says where to put their layers."""

import json
import re
import shlex
import sys

import pytest

# Of Docker's check-config.sh, what it calls generally necessary, and what its networks and k3s use.
CONFIGURED = (
    "NAMESPACES NET_NS PID_NS IPC_NS UTS_NS USER_NS CGROUPS CGROUP_CPUACCT CGROUP_DEVICE CGROUP_FREEZER"
    " CGROUP_SCHED CGROUP_PIDS CGROUP_BPF CPUSETS MEMCG BLK_CGROUP BLK_DEV_THROTTLING CFS_BANDWIDTH"
    " FAIR_GROUP_SCHED KEYS SECCOMP SECCOMP_FILTER POSIX_MQUEUE VETH BRIDGE BRIDGE_NETFILTER OVERLAY_FS"
    " EXT4_FS_POSIX_ACL NF_NAT IP_NF_NAT IP_NF_FILTER IP_NF_TARGET_MASQUERADE NETFILTER_XT_MATCH_ADDRTYPE"
    " NETFILTER_XT_MATCH_CONNTRACK NETFILTER_XT_MATCH_IPVS IP_VS IP_VS_NFCT IP_VS_RR VXLAN IPVLAN MACVLAN"
    " DUMMY"
)
MODULES = (
    "br_netfilter overlay veth vxlan ip_vs ip_vs_rr nft_compat xt_conntrack xt_MASQUERADE xt_addrtype xt_comment"
    " xt_multiport xt_mark xt_nat xt_statistic ip_set_hash_ip iptable_nat ip6table_nat fuse"
)
LAYERS = (
    "mkdir lower upper work merged && echo lower > lower/file"
    " && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged"
    " && rm merged/file && test -c upper/file && umount merged"
)

# As an engine does it: a bridge, a pair of interfaces with one end in the container, NAT, a published port.
NETWORK = """
set -e
sysctl -q -w net.ipv4.ip_forward=1
ip netns add inner
ip link add br9 type bridge
ip link add outer9 type veth peer name eth0 netns inner
ip link set outer9 master br9 up
ip link set br9 up
ip addr add 10.9.0.1/24 dev br9
ip -n inner addr add 10.9.0.2/24 dev eth0
ip -n inner link set eth0 up
ip -n inner route add default via 10.9.0.1
nft -f - <<'RULES'
table ip engine {
    chain out { type nat hook postrouting priority srcnat; ip saddr 10.9.0.0/24 oifname ens2 counter masquerade; }
    chain in { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 10.9.0.2:80; }
}
RULES
ip netns exec inner busybox httpd -h /etc -p 80
ip netns exec inner ping -4 -c 1 -W 20 server
nft list chain ip engine out
"""

# What the NFS server of the kernel asks of a file system: a handle for a file, and the file of that handle.
HANDLES = """
import ctypes, os
class Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_char * 128)]
libc, root = ctypes.CDLL(None, use_errno=True), os.open("/", os.O_RDONLY)
for path in ("/usr/bin/env", "/etc/hosts"):
    handle, mount = Handle(128), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0):
        raise SystemExit(path + ": " + os.strerror(ctypes.get_errno()))
    print(os.readlink("/proc/self/fd/%d" % libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)))
"""


@pytest.fixture(scope="module")
def engine(walt):
    walt(
        "node", "create", "engine", "--image", "full", "-c", "boot.delay=0", "-c", "cpu.cores=1", "--wait", timeout=400
    )
    walt("node", "run", "engine", "--", "systemctl", "is-system-running", "--wait", check=False, timeout=180)
    yield "engine"  # which systemd would start by then, and no sooner
    walt("node", "remove", "engine", "--force")


@pytest.fixture
def run(walt, engine):
    """run("ls", check=False) -> Done, of a shell of the node."""
    return lambda script, check=True: walt("node", "run", engine, "--", script, check=check, timeout=180)


def test_groups_have_controllers_and_limits(run):
    controllers = run("cat /sys/fs/cgroup/cgroup.controllers").stdout.split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)
    limits = "-p MemoryMax=20M -p TasksMax=20 -p CPUQuota=50%"
    asked = "'cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max'"
    assert run(f"systemd-run --quiet --wait --pipe {limits} sh -c {asked}").stdout.strip() == str(20 * 2**20)


@pytest.mark.parametrize(
    "place",
    [
        "mkdir /persist/layers && cd /persist/layers",
        "mkdir /srv/layers && mount -t tmpfs none /srv/layers && cd /srv/layers",
    ],
    ids=["persist", "tmpfs"],
)
def test_layers_have_their_place(run, place):
    run(f"{place} && {LAYERS}")


def test_layers_on_the_root_are_refused_by_the_kernel(run):
    assert run(f"mkdir /srv/refused && cd /srv/refused && {LAYERS}", check=False).status != 0


def test_a_bridged_namespace_reaches_out_and_is_reached(run, walt, engine, platform):
    rule = run(NETWORK).stdout
    packets = re.search(r"counter packets (\d+)", rule)
    assert packets and int(packets[1]) > 0, rule
    (node,) = json.loads(walt("node", "show", engine, "-o", "json").stdout)
    get = f"import urllib.request; print(urllib.request.urlopen('http://{node['ip']}:8080/hostname').read().decode())"
    assert platform.inside(sys.executable, "-c", get).stdout.strip() == engine


def test_modules_are_there_and_frames_on_bridges_can_be_filtered(run):
    run(f"modprobe -a {MODULES}")
    assert run("sysctl -n net.bridge.bridge-nf-call-iptables").stdout.strip() == "1"


def test_every_user_has_namespaces_and_fuse(run):
    assert run("su nobody -s /bin/sh -c 'unshare -Urmn id -u'").stdout.strip() == "0"
    run("su nobody -s /bin/sh -c 'exec 3<>/dev/fuse'")


def test_mounts_are_shared(run):
    assert run("findmnt -n -o PROPAGATION /").stdout.strip() == "shared"


def test_kernel_is_configured_for_them(run):
    config = run("cat /boot/config-$(uname -r)").stdout
    assert not [one for one in CONFIGURED.split() if not re.search(rf"^CONFIG_{one}=[ym]$", config, re.MULTILINE)]


def test_files_of_the_root_have_handles_for_an_nfs_server(run):
    """Those of the image, and those that the node has changed."""
    assert run(f"python3 -c {shlex.quote(HANDLES)}").stdout.split() == ["/usr/bin/env", "/etc/hosts"]
