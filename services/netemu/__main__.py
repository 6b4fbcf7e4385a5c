"""`python -m services.netemu`"""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
from services.kit.bus.process import serve
from services.netemu.service import NetemuService

if __name__ == "__main__":
    serve(NetemuService, per_host=True)
