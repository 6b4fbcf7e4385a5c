"""Who may import what, and how big a part may be: read from the sources, nothing is run."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("nodes", "vmrunner", "netemu", "bootserver", "console")
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40

HEAVY = {"docker", "nameko", "eventlet", "kombu", "amqp", "marshmallow", "sqlalchemy", "pyroute2"}
IMPURE = {*HEAVY, "subprocess", "socket", "threading", "select", "fcntl", "tempfile", "shutil"}

# Whoever runs a helper to its end uses kit.commands; these have processes that live on.
SUBPROCESS_OWNERS = {
    "services/kit/commands.py",
    "services/vmrunner/processes.py",
    "services/netemu/cable/control.py",
    "services/console/program.py",
    "services/bootserver/nfs.py",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, at_import_only: bool = False) -> set[str]:
    """Dotted names that the module imports; without those of its functions when only import time counts."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def of_service(path: Path) -> str:
    return path.relative_to(ROOT / "services").parts[0]


@pytest.mark.parametrize("path", sources("services/contracts"), ids=name_of)
def test_contracts_import_only_the_standard_library_and_marshmallow(path):
    found = imports(path)
    assert top(found) <= set(sys.stdlib_module_names) | {"marshmallow", "services"}
    assert all(name.startswith("services.contracts") for name in found if name.startswith("services"))


@pytest.mark.parametrize("path", sources(*(f"services/{one}" for one in SERVICES)), ids=name_of)
def test_no_service_imports_another(path):
    allowed = tuple(f"services.{part}" for part in ("contracts", "kit", of_service(path)))
    foreign = {name for name in imports(path) if name.startswith("services.") and not name.startswith(allowed)}
    assert not foreign
    assert not top(imports(path)) & {"cli", "deploy"}


@pytest.mark.parametrize("path", sources("services/kit"), ids=name_of)
def test_kit_knows_no_service(path):
    own = {name for name in imports(path) if name.startswith("services.")}
    assert all(name.startswith(("services.contracts", "services.kit")) for name in own)
    assert not top(imports(path)) & {"cli", "deploy"}


@pytest.mark.parametrize("path", sources("cli"), ids=name_of)
def test_cli_loads_words_not_machinery(path):
    found = imports(path)
    assert all(name.startswith("services.contracts") for name in found if name.startswith("services"))
    assert not top(imports(path, at_import_only=True)) & HEAVY
    assert "deploy" not in top(found)
    assert not {name for name in imports(path, at_import_only=True) if name.startswith("services.contracts.wire")}


def docstring_says_pure(path: Path) -> bool:
    return re.search(r"\bPure[.:]", ast.get_docstring(ast.parse(path.read_text())) or "") is not None


@pytest.mark.parametrize("path", [one for one in sources("services") if docstring_says_pure(one)], ids=name_of)
def test_module_that_calls_itself_pure_is(path):
    assert not top(imports(path)) & IMPURE


@pytest.mark.parametrize("path", sources("services", "cli"), ids=name_of)
def test_pyroute2_is_the_kernel_adapters(path):
    if not name_of(path).startswith("services/netemu/kernel"):
        assert "pyroute2" not in top(imports(path))


@pytest.mark.parametrize("path", sources("services", "cli"), ids=name_of)
def test_subprocess_has_few_users(path):
    used = any("subprocess" in name.split(".") for name in imports(path))
    assert used == (name_of(path) in SUBPROCESS_OWNERS)


def entry_points(service: str) -> set[str]:
    """Names of the methods that may be called, and constants of the events that are heard."""
    tree = ast.parse((ROOT / "services" / service / "service.py").read_text())
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    served = {
        method.name
        for method in methods
        for mark in method.decorator_list
        if isinstance(mark, ast.Name) and mark.id in ("public", "internal")
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    heard = [call.args[1] for call in calls if call.func.id == "event_handler"]
    return served | {event.attr for event in heard}


@pytest.mark.parametrize("service", SERVICES)
def test_card_and_contract_name_every_entry_point(service):
    names = entry_points(service)
    assert "diagnose" in names
    for path in (f"services/{service}/service.py", f"services/contracts/{service}.py"):
        card = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
        assert not {name for name in names if not re.search(rf"\b{name}\b", card)}, path


def test_a_wheel_has_the_files_that_its_packages_read():
    """Those of deploy are for a checkout."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    found = {
        path
        for package, patterns in packages.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    files = {path for part in ("cli", "services") for path in (ROOT / part).rglob("*") if path.is_file()}
    assert found == {path for path in files if path.suffix not in (".py", ".pyc")}


@pytest.mark.parametrize("path", sources("services", "cli", "deploy"), ids=name_of)
def test_size(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {one.name: one.end_lineno - one.lineno + 1 for one in functions if one.end_lineno}
    assert not {name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES}
