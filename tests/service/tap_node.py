"""A node on a tap: `python -m tests.service.tap_node TAP MAC ADDRESS/BITS DELAY_S`. Until it is killed.

Its network stack is the kernel's, in a network namespace of its own, behind a second tap. DELAY_S is what the node
takes for each frame that it receives.
"""

import ctypes
import os
import select
import subprocess
import sys
import time

from services.kit.tun import open_tap

CLONE_NEWNET = 0x40000000
FRAME_BYTES = 70000


def main() -> None:
    tap, mac, address, delay_s = sys.argv[1:]
    network_end = open_tap(tap)
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
    stack_end = open_tap("ens2")
    for argv in (f"link set ens2 address {mac} up", f"addr add {address} dev ens2"):
        subprocess.run(["ip", *argv.split()], check=True)
    while True:
        for source in select.select([network_end, stack_end], [], [])[0]:
            frame = os.read(source, FRAME_BYTES)
            if source == network_end:
                time.sleep(float(delay_s))
            os.write(stack_end if source == network_end else network_end, frame)


if __name__ == "__main__":
    main()
