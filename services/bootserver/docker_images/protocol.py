"""What bootserver and the process with the Docker Engine's socket say to each other. Pure.

A connection carries one request, a line of JSON with open files: {"verb": "export", "reference": NAME} with the file
for the tar, or {"verb": "build"} with the tar of a Dockerfile's folder and the file for that of the result;
"build-online" is the same with a network for its commands. Each answer is a line of JSON: {"line": TEXT} of progress
("": none, but the work goes on), and at last {"status": 0} or, of an error, {"status": EXIT_CODE, "message": TEXT}. Who
hangs up ends the work.
"""

from __future__ import annotations

from pathlib import Path

LINE_BYTES = 4096
EXPORT, BUILD, BUILD_ONLINE = "export", "build", "build-online"
FILES = {EXPORT: ("wb",), BUILD: ("rb", "wb"), BUILD_ONLINE: ("rb", "wb")}  # that come with a verb, and their modes


def socket_path(run_folder: Path) -> Path:
    return run_folder / "docker-images.sock"
