"""`python -m services.bootserver`"""

import os

import services.kit.green  # noqa: F401  # first
from services.bootserver.provider import HTTP_ADDRESS
from services.kit.environment import Environment
from services.kit.process import serve


def load(env: Environment) -> type:
    from services.bootserver.service import BootServer

    return BootServer


if __name__ == "__main__":
    os.environ.setdefault("WALT_HTTP_ADDRESS", HTTP_ADDRESS)
    serve(load)
