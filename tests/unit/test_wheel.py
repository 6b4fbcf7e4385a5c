"""The wheel: built from the checkout, installed elsewhere, and used there without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
BUILT_FROM = ("walt", "cli", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of a copy, since setuptools leaves its own files beside the sources. Nothing is fetched."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    subprocess.run(["cp", "-r", *(str(ROOT / one) for one in BUILT_FROM), str(source)], check=True)
    argv = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(source)]
    subprocess.run(argv, check=True, cwd=target)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that has the wheel, and no more."""
    folder = tmp_path_factory.mktemp("installed")
    argv = [*PIP, "install", "--no-deps", "--no-index", "--no-compile", "--target", str(folder), str(wheel)]
    subprocess.run(argv, check=True, cwd=folder)
    return folder


def run(installed, *argv):
    """With this environment's other packages, but neither its own `walt` (an import hook) nor the checkout."""
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    env = {**os.environ, "PYTHONPATH": f"{installed}:{libraries}"}
    argv = [sys.executable, "-S", *argv]
    return subprocess.run(argv, cwd=installed, env=env, capture_output=True, text=True, check=True).stdout


def test_walt_is_the_only_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"walt"}
    assert {"walt/py.typed", "walt/cli/main.py", "walt/cli/topics/nodes.txt"} <= set(names)


def test_it_is_used_from_anywhere(installed):
    assert run(installed, "-c", "import walt; print(walt.__file__)").strip() == str(installed / "walt/__init__.py")
    assert run(installed, "-c", "from walt import Client; print(Client().fileno())").strip() == "None"
    script = installed / "bin/walt"
    assert run(installed, str(script), "--version") == "walt 0.1.0\n"
    assert run(installed, str(script), "--help").startswith("Usage: walt ")
    assert "disks" in run(installed, "-m", "walt.cli", "help")


def test_it_says_what_it_needs(installed):
    """Each module can be imported with the packages of [project] dependencies."""
    code = "import pkgutil, importlib, sys, walt\n" + (
        "for one in pkgutil.walk_packages(walt.__path__, 'walt.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    loaded = set(run(installed, "-c", code).split())
    assert {name for name in loaded if not name.startswith("_")} == {"click", "marshmallow", "walt"}
