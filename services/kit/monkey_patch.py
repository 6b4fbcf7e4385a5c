"""Make the standard library cooperative: the first import of every process that uses eventlet.

Whatever is imported before it may keep the blocking versions.
"""

import os

# eventlet's own resolver remembers for minutes that a name had no address: that of a broker, while its container was
# restarted. The C library's asks anew.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")

# psycopg waits for the database in its own C code, which would stop all green threads; by this name it waits in
# select(), which eventlet replaces.
os.environ.setdefault("PSYCOPG_WAIT_FUNC", "wait_select")

import eventlet  # noqa: E402
from eventlet import hubs  # noqa: E402

eventlet.monkey_patch()

_pipe = os.pipe


def _green_pipe() -> tuple[int, int]:
    """A socket that is closed while a green thread reads it leaves its number in the hub. eventlet looks for that when
    it makes a socket, but not for pipes: `subprocess` then failed with "Second simultaneous read"."""
    ends = _pipe()
    hub = hubs.get_hub()
    for end in ends:
        for listeners in hub.listeners.values():
            if stale := listeners.get(end):
                hub.remove(stale)
                stale.defang()
    return ends


os.pipe = _green_pipe
