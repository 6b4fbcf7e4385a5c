"""`python -m services.netemu`"""

import eventlet

eventlet.monkey_patch()

from services.kit.process import serve  # noqa: E402
from services.netemu.service import load  # noqa: E402

if __name__ == "__main__":
    serve(load)
