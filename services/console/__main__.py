"""`python -m services.console`"""

import eventlet

eventlet.monkey_patch()

from services.contracts import console  # noqa: E402
from services.kit.environment import Environment  # noqa: E402
from services.kit.process import serve  # noqa: E402


def load(env: Environment) -> type:
    from services.console.service import ConsoleService

    return type("ConsoleService", (ConsoleService,), {"name": console.service_on(env.host)})


if __name__ == "__main__":
    serve(load)
