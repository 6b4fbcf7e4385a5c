"""Faults of the Docker Engine and its SDK, as our errors. Only who uses the engine imports this."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from walt.contracts.errors import Failed

DEFAULT_HOST = "unix:///var/run/docker.sock"

ENGINE_ERRORS = (DockerException, RequestException, HTTPError)  # all that the SDK raises


class EngineRefused(Failed):
    """The engine answers, and does not do it."""


class EngineAway(Failed):
    """No engine answers."""


@contextlib.contextmanager
def engine_errors(
    refused: str = "the Docker Engine refuses: {}", away: str = "the Docker Engine does not answer: {}"
) -> Iterator[None]:
    """Raises EngineRefused and EngineAway for what the SDK raises inside; {} in their sentences is the reason."""
    try:
        yield
    except APIError as error:
        raise EngineRefused(refused.format(error.explanation or error)) from None
    except ENGINE_ERRORS as error:
        raise EngineAway(away.format(_reason(error))) from None


def _reason(error: BaseException) -> str:
    """'unix:///nowhere: No such file or directory': the system's error is below those of three libraries."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return f"{os.environ.get('DOCKER_HOST', DEFAULT_HOST)}: {below.strerror}"
        below = below.__cause__ or below.__context__
    return str(error)
