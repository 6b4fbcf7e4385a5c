"""`python -m services.bootserver`"""

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402

from services.bootserver.provider import HTTP_ADDRESS  # noqa: E402
from services.kit.environment import Environment  # noqa: E402
from services.kit.process import serve  # noqa: E402


def load(env: Environment) -> type:
    from services.bootserver.service import BootServer

    return BootServer


if __name__ == "__main__":
    os.environ.setdefault("WALT_HTTP_ADDRESS", HTTP_ADDRESS)
    serve(load)
