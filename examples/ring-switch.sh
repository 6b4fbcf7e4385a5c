# switch.sh ADDRESS PRIORITY: the node becomes a switch. Its ports, but for walt-net, are those of a bridge; the bridge of the
# lowest priority is the root of the tree.
set -e
ip link show br0 >/dev/null 2>&1 || ip link add br0 type bridge
ip link set br0 type bridge stp_state 1 priority "$2" forward_delay 400 hello_time 100 max_age 600
for port in ens3 ens4; do
    ip link set "$port" master br0 up
done
ip link set br0 up
ip addr replace "$1" dev br0
