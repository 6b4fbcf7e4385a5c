"""The container of the cable has exactly the modules that the cable imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STAGE = (ROOT / "deploy/Dockerfile").read_text().partition(" AS cable\n")[2].partition("\nFROM ")[0]
IMPORTS = """
import sys
import services.netemu.cable.__main__
print(*(one.__file__ for name, one in sys.modules.items() if name.split(".")[0] in ("services", "walt")), sep="\\n")
"""


def test_it_has_what_the_cable_imports() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {str(Path(line).relative_to(ROOT)) for line in done.stdout.split()}
    copied = {path for line in re.findall(r"^COPY (.+) \S+$", STAGE, re.MULTILINE) for path in line.split()}
    assert copied == imported
