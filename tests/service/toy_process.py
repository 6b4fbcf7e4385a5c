"""A service process as small as can be, for the test of a broker that is late or restarted."""

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split

from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import internal
from services.kit.bus.process import serve


class Toy:
    name = "toy"
    metrics = Metrics()

    @internal
    def greet(self, what: str) -> str:
        return f"{what} you"


if __name__ == "__main__":
    serve(Toy)
