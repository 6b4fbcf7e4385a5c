"""Writing client.toml: the same platform with another login, which keeps all else in the file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from walt.contracts.errors import Conflict, Failed, InvalidRequest

_URI = re.compile(r"""^amqp_uri\s*=\s*["'](?P<uri>[^"'\\]+)["']""", re.MULTILINE)


def with_login(text: str, user: str, password: str) -> str:
    """The text of a client.toml with another account in its amqp_uri; InvalidRequest when there is no such line.

    >>> with_login('amqp_uri = "amqp://ada:old@lab1/"  # mine', "bob", "p/w")
    'amqp_uri = "amqp://bob:p%2Fw@lab1/"  # mine'
    """
    found = _URI.search(text)
    if found is None:
        raise InvalidRequest("amqp_uri is not on a line of its own in the client.toml in use; it must be")
    parts = urlsplit(found["uri"])
    address = parts.netloc.rpartition("@")[2]
    uri = parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{address}").geturl()
    return text[: found.start()] + f'amqp_uri = "{uri}"' + text[found.end() :]


@contextlib.contextmanager
def create_private_file(path: Path) -> Iterator[IO[str]]:
    """A new file that only its owner can read; removed again if the body of the `with` fails.

    with create_private_file(Path("bob.toml")) as file:
        file.write(with_login(template, "bob", password))
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} exists; allowed: a file that does not") from None
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be created: {error.strerror}; allowed: a new file in a folder where you may write"
        ) from None
    with os.fdopen(handle, "w") as file, contextlib.ExitStack() as undo:
        undo.callback(path.unlink)
        yield file
        undo.pop_all()


def rewrite(path: Path, text: str) -> None:
    """Change a file in place, since it may be a link, or in a folder where we may not write.

        rewrite(client.configuration.source, with_login(template, "ada", password))

    In a single write, so that a reader never sees half of it.
    """
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
