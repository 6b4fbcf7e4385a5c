"""Build the machine code of the cable: `python -m deploy.cable_build [--required]`, with Cython and a C compiler.

Where there is no compiler the cable is interpreted, and does the same with more CPU time; --required: that is an error.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from services.netemu.cable import engine

ROOT = engine.BUILD.parents[1]
# Beside its types, the code shall mean what the interpreter makes of it: annotations are for readers and mypy.
DIRECTIVES = {"language_level": "3", "annotation_typing": False}


def what_is_missing() -> str:
    """Of what a compiler needs; "" where all is there."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.exists() else f"no headers of Python ({header})"


def build(into: Path) -> None:
    """The modules go straight into this folder. Raises what compilers raise."""
    # setuptools puts its own distutils in place of that of Python, so it comes first.
    from setuptools import Distribution, Extension  # isort: skip
    from Cython.Build import cythonize

    with tempfile.TemporaryDirectory() as work:
        sources = engine.SOURCES.relative_to(ROOT)
        modules = [
            Extension(f"{engine.__package__}.{name}", [str(sources / f"{name}.py")], extra_compile_args=["-O2"])
            for name in engine.COMPILED
        ]
        found = cythonize(modules, build_dir=f"{work}/c", compiler_directives=DIRECTIVES, quiet=True)
        command = Distribution({"ext_modules": found, "packages": []}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = f"{work}/lib", f"{work}/objects"
        command.ensure_finalized()
        command.run()
        shutil.copytree(Path(work, "lib", sources), into)


def install(folder: Path) -> None:
    """Whole or not at all; what was there of other sources, or of a build that was interrupted, goes."""
    unfinished = Path(tempfile.mkdtemp(dir=engine.BUILD, prefix="."))
    build(unfinished / "lib")
    os.rename(unfinished / "lib", folder)
    for other in engine.BUILD.iterdir():
        if other != folder and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)


def main() -> int:
    os.chdir(ROOT)
    folder = engine.compiled_folder()
    if folder.is_dir():
        return 0
    if fault := what_is_missing():
        print(f"{fault}: the cable is interpreted, and takes more CPU time for each frame", file=sys.stderr)
        return int("--required" in sys.argv)
    engine.BUILD.mkdir(parents=True, exist_ok=True)
    with (engine.BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():  # another may have built it meanwhile
            install(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
