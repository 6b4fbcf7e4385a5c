"""Make the standard library cooperative: the first import of every process that uses eventlet.

Whatever is imported before it may keep the blocking versions.
"""

import warnings

# We know, and nameko leaves no choice; five processes need not say so at each start.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet  # noqa: E402

eventlet.monkey_patch()
