"""No merge was committed half done: a page or a configuration with the lines of a conflict may be taken as it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKER = re.compile(rb"^(<{7} |>{7} |={7}$)", re.MULTILINE)


def test_no_file_holds_both_sides_of_a_conflict():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    assert paths
    assert not [str(path) for path in paths if path.is_file() and MARKER.search(path.read_bytes())]
