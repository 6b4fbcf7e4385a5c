"""A service process as small as can be, for the test of a broker that is late or restarted."""

import eventlet

eventlet.monkey_patch()

from services.kit.process import serve  # noqa: E402


def load(env):
    from services.kit.entrypoints import internal
    from services.kit.metrics import Metrics

    class Toy:
        name = "toy"
        metrics = Metrics()

        @internal
        def greet(self, what):
            return f"{what} you"

    return Toy


if __name__ == "__main__":
    serve(load)
