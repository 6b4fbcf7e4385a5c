"""`python -m services.nodes`."""

import services.kit.green  # noqa: F401  # first
from services.kit.environment import Environment
from services.kit.process import serve


def load(env: Environment) -> type:
    from services.nodes.service import service_for

    return service_for(env.host)


if __name__ == "__main__":
    serve(load)
