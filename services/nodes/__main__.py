"""`python -m services.nodes`"""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
from services.kit.bus.process import serve
from services.nodes.service import NodesService

if __name__ == "__main__":
    serve(NodesService)
