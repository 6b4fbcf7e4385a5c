"""`python -m deploy.compose.images`: the platform's OS images are in the store, and bootserver is told which they are.

Environment: WALT_PLATFORM_RECIPES ("default=debian,small=small": what users see, and the recipe below deploy/images),
WALT_IMAGES_DIR, WALT_STATE_DIR. Builds what is missing, with apt and mmdebstrap; needs no registry.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.images import __main__ as builder
from deploy.images import recipes
from services.contracts.errors import InvalidRequest, WaltError
from services.kit.commands import run
from services.kit.files import write_atomically

UPDATE_LIMIT_S = 300
LIST = "platform-images"  # below WALT_STATE_DIR; bootserver reads it as WALT_PLATFORM_IMAGES_FILE


def main() -> int:
    try:
        chosen = parse(os.environ.get("WALT_PLATFORM_RECIPES") or "default=debian")
        store = Path(os.environ["WALT_IMAGES_DIR"])
        folders = {name: _build(recipes.load(recipe), store) for name, recipe in chosen.items()}
    except WaltError as error:
        print(f"images: {error}", file=sys.stderr)
        return error.exit_code
    told = ",".join(f"{name}={folder}" for name, folder in folders.items())
    write_atomically(Path(os.environ["WALT_STATE_DIR"]) / LIST, told)
    print(f"images: {told}", file=sys.stderr)
    return 0


def _build(recipe: recipes.Recipe, store: Path) -> str:
    """The image's folder in the store."""
    if not (store / recipe.image).is_dir():
        run(["apt-get", "update"], timeout=UPDATE_LIMIT_S)  # this container has no lists of packages
    return builder.build(recipe, store).name


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
