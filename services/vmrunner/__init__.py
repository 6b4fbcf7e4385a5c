"""One host's virtual machines: delay, bootloader, qemu, exit, again."""
