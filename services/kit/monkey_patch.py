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

eventlet.monkey_patch()
