"""client.toml for another login: like the one in use here, with its address and all else it says."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from services.contracts.errors import Conflict, Failed, InvalidRequest

_URI = re.compile(r"""^amqp_uri\s*=\s*["'](?P<uri>[^"'\\]+)["']""", re.MULTILINE)


def with_login(text: str, user: str, password: str) -> str:
    """The text of a client.toml with another account in its amqp_uri; InvalidRequest. Its first comment is of this
    place alone."""
    found = _URI.search(text)
    if found is None:
        raise InvalidRequest("amqp_uri is not on a line of its own in the client.toml in use; allowed: only that")
    parts = urlsplit(found["uri"])
    place = parts.netloc.rpartition("@")[2]
    uri = parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{place}").geturl()
    return text[: found.start()] + f'amqp_uri = "{uri}"' + text[found.end() :]


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """A file for its owner only, that was not there before; gone again when what is done with it fails."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} exists; allowed: a file that does not") from None
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be made: {error.strerror}; allowed: a file that can") from None
    with os.fdopen(handle, "w") as file, contextlib.ExitStack() as undo:
        undo.callback(path.unlink)
        yield file
        undo.pop_all()


def rewrite(path: Path, text: str) -> None:
    """In place: it may be a link, in a folder that is not ours. One write, so that no reader sees half of it."""
    try:
        handle = os.open(path, os.O_WRONLY)
        try:
            content = text.encode()
            os.write(handle, content)
            os.ftruncate(handle, len(content))
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None
