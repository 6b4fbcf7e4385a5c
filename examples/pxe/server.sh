#!/bin/sh
# Makes this node the boot server of the network at ens3: DHCP by dnsmasq, HTTP by busybox, and a small system for its clients.
# It is made of this node's kernel, its drivers of network interfaces, and busybox.
set -e
here=$(dirname "$0") address=10.20.0.1 files=/srv/pxe initrd=/tmp/initrd
mkdir -p $files $initrd/bin $initrd/modules
cp /bin/busybox $initrd/bin/
cp "$here/client-init" $initrd/init
chmod 755 $initrd/init
number=10
modprobe --show-depends --all virtio_pci virtio_net | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r module; do
    cp "$module" "$initrd/modules/$number-${module##*/}"
    number=$((number + 1))
done
(cd $initrd && find . | busybox cpio -o -H newc | gzip -1) > $files/initrd
cp "/boot/vmlinuz-$(uname -r)" $files/kernel
cat > $files/client.ipxe <<'END'
#!ipxe
kernel kernel initrd=initrd console=ttyS0 quiet mitigations=off no_timer_check panic=5 name=${name} walt=${walt}
initrd initrd
boot
END
busybox httpd -p $address:80 -h $files || true   # it runs already
pkill dnsmasq || true
dnsmasq --port=0 --interface=ens3 --bind-interfaces --dhcp-range=10.20.0.100,10.20.0.200,1h --dhcp-authoritative \
    --dhcp-leasefile=/run/pxe.leases --dhcp-boot=http://$address/client.ipxe
