"""`python -m deploy.compose.images`: builds the OS images that the store lacks, and lists them for bootserver.

Environment: WALT_PLATFORM_RECIPES ("default=debian,small=small": what users see, and the recipe below deploy/images),
WALT_IMAGES_DIR, WALT_STATE_DIR. Builds what is missing, with apt and mmdebstrap; needs no registry.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.images import builder, recipes
from services.kit.files import write_atomically
from services.kit.subprocesses import run
from walt.contracts.errors import Failed, InvalidRequest, WaltError

UPDATE_LIMIT_S = 300
LIST = "platform-images"  # below WALT_STATE_DIR; bootserver reads it as WALT_PLATFORM_IMAGES_FILE


def main() -> int:
    try:
        chosen = parse(os.environ.get("WALT_PLATFORM_RECIPES") or "default=debian")
        store = Path(os.environ["WALT_IMAGES_DIR"])
        folders = {name: _build(recipe, store) for name, recipe in chosen.items()}
    except WaltError as error:
        print(f"images: {error}", file=sys.stderr)
        return error.exit_code
    listed = ",".join(f"{name}={folder}" for name, folder in folders.items())
    write_atomically(Path(os.environ["WALT_STATE_DIR"]) / LIST, listed)
    print(f"images: {listed}", file=sys.stderr)
    return 0


def _build(name: str, store: Path) -> str:
    """The image's folder in the store. What goes wrong is one line, the reason at its end: `up` and the log show it."""
    recipe = recipes.load(name)
    if not (store / recipe.image).is_dir():
        run(["apt-get", "update"], timeout=UPDATE_LIMIT_S, env=os.environ)  # this container has no lists of packages
    try:
        return builder.build(recipe, store).name
    except (WaltError, OSError) as error:
        reason = " ".join(str(error).splitlines()[-1:])
        raise Failed(f"there is no image '{name}' in {store}, and it cannot be built: {reason}") from error


def parse(text: str) -> dict[str, str]:
    """'default=debian' -> {'default': 'debian'}."""
    pairs = [item.partition("=") for item in text.split(",") if item]
    wrong = [name + sign + recipe for name, sign, recipe in pairs if not name or recipe not in recipes.names()]
    if wrong or not pairs:
        raise InvalidRequest(
            f"WALT_PLATFORM_RECIPES: '{','.join(wrong)}' names no image to build; allowed: NAME=RECIPE,… with the "
            f"recipes {', '.join(recipes.names())}"
        )
    return {name: recipe for name, _, recipe in pairs}


if __name__ == "__main__":
    sys.exit(main())
