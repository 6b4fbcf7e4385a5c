"""`python -m services.console`"""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split
from services.console.service import ConsoleService
from services.kit.bus.process import serve

if __name__ == "__main__":
    serve(ConsoleService, per_host=True)
