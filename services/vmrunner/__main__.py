"""`python -m services.vmrunner`"""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
from services.kit.bus.process import serve
from services.vmrunner.service import VmrunnerService

if __name__ == "__main__":
    serve(VmrunnerService, per_host=True)
