"""`python -m services.netemu`"""

import services.kit.green  # noqa: F401  # first
from services.kit.process import serve
from services.netemu.service import load

if __name__ == "__main__":
    serve(load)
