"""`python -m services.vmrunner`."""

import eventlet

eventlet.monkey_patch()

from services.kit.environment import Environment  # noqa: E402
from services.kit.process import serve  # noqa: E402


def load(env: Environment) -> type:
    from services.vmrunner.service import service_for

    return service_for(env.host)


if __name__ == "__main__":
    serve(load)
