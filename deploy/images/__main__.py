"""`python -m deploy.images NAME`: build the image, or find it built, and print its folder. As root.

Environment: WALT_IMAGES_DIR (default /var/cache/walt/images).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.images import builder, recipes
from walt.contracts.errors import InvalidRequest, WaltError

IMAGES_DIR = "/var/cache/walt/images"


def main(arguments: list[str]) -> int:
    try:
        print(builder.build(_recipe(arguments), Path(os.environ.get("WALT_IMAGES_DIR", IMAGES_DIR))))
    except WaltError as error:
        print(f"walt images: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _recipe(arguments: list[str]) -> recipes.Recipe:
    if len(arguments) != 1 or arguments[0] not in recipes.names():
        given = " ".join(arguments) or "nothing"
        raise InvalidRequest(f"'{given}' is not an image to build; allowed: {', '.join(recipes.names())}")
    return recipes.load(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
