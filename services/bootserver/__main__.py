"""`python -m services.bootserver`"""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
from services.bootserver.service import BootserverService
from services.kit.bus.process import serve

if __name__ == "__main__":
    serve(BootserverService)
