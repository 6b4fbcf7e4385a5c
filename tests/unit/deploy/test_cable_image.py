"""The container of the cable has exactly the modules that the cable imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from services.netemu.cable import engine

ROOT = Path(__file__).parents[3]
STAGE = (ROOT / "deploy/Dockerfile").read_text().partition(" AS cable\n")[2].partition("\nFROM ")[0]
BUILDER = (ROOT / "deploy/Dockerfile").read_text().partition(" AS cable-code\n")[2].partition("\nFROM ")[0]
IMPORTS = """
import sys
import services.netemu.cable.__main__, services.netemu.cable.process
print(*(one.__file__ for name, one in sys.modules.items() if name.split(".")[0] in ("services", "walt")), sep="\\n")
"""


def test_it_has_what_the_cable_imports() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {str(Path(line).relative_to(ROOT)) for line in done.stdout.split()}
    copied = {path for line in re.findall(r"^COPY (.+) \S+$", STAGE, re.MULTILINE) for path in line.split()}
    typed = {f"{engine.SOURCES.relative_to(ROOT)}/{name}.pxd" for name in engine.COMPILED}
    assert copied - {"--from=cable-code", "/opt/walt/build/cable"} == imported | typed


def test_its_machine_code_is_built_of_all_that_it_consists_of() -> None:
    """The digest that names it is one of the modules and their types: they are the same in both stages."""
    assert "COPY --from=cable-code /opt/walt/build/cable build/cable\n" in STAGE
    assert (
        "COPY services/netemu/cable services/netemu/cable\n" in BUILDER and "deploy.cable_build --required" in BUILDER
    )
