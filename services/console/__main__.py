"""`python -m services.console`"""

import services.kit.green  # noqa: F401  # first
from services.contracts import console
from services.kit.environment import Environment
from services.kit.process import serve


def load(env: Environment) -> type:
    from services.console.service import ConsoleService

    return type("ConsoleService", (ConsoleService,), {"name": console.service_on(env.host)})


if __name__ == "__main__":
    serve(load)
