"""`python -m services.netemu.cable RUN_DIR`: the cable. netemu or a supervisor starts it, a signal ends it."""

from __future__ import annotations

import sys
from pathlib import Path

from services.netemu.cable import engine


def main() -> None:
    is_compiled = engine.prefer_compiled()
    # Not before: what is imported from now on is machine code, where there is some.
    from services.netemu.cable.process import serve

    serve(Path(sys.argv[1]), is_compiled)


if __name__ == "__main__":
    main()
