"""What the host itself does on an interface: nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path


def disable_host_stack(name: str, *, is_server: bool = False) -> None:
    """The host neither sends, answers nor routes on this interface; filters/input_filter.py enforces the same.

    /proc/sys is read-only in an unprivileged container: there the filter alone does it.
    """
    settings = {"ipv6": {"disable_ipv6": "1"}, "ipv4": {} if is_server else {"arp_ignore": "8", "forwarding": "0"}}
    for family, values in settings.items():
        for key, value in values.items():
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(value)
