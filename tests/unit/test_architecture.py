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
MAX_TEST_MODULE_LINES = 400

HEAVY = {"docker", "nameko", "eventlet", "kombu", "amqp", "marshmallow", "sqlalchemy", "pyroute2"}
IMPURE = {*HEAVY, "subprocess", "socket", "threading", "select", "fcntl", "tempfile", "shutil"}

# Whoever runs a helper to its end uses kit.commands; these have processes that live on.
SUBPROCESS_OWNERS = {
    "services/kit/subprocesses.py",
    "services/kit/tasks/__init__.py",
    "services/vmrunner/boot/script_runner.py",
    "services/vmrunner/qemu/processes.py",
    "services/netemu/cable/control.py",
    "services/netemu/capture/programs.py",
    "services/console/session/child_process.py",
    "services/bootserver/persist/aoe_server.py",
    "cli/sessions/capture.py",
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
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{source_of(node, path)}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def source_of(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name after `from`; a relative one counts from the module's own package, as `walt.cli` where it is
    installed."""
    if node.level == 0:
        return node.module or ""
    package = path.relative_to(ROOT).parts[: -node.level]
    return ".".join([*(("walt",) if package[0] == "cli" else ()), *package, *filter(None, [node.module])])


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def of_walt(path: Path) -> set[str]:
    return {name for name in imports(path) if name.partition(".")[0] == "walt"}


def of_service(path: Path) -> str:
    return path.relative_to(ROOT / "services").parts[0]


@pytest.mark.parametrize("path", sources("walt/contracts"), ids=name_of)
def test_contracts_import_only_the_standard_library_and_marshmallow(path):
    found = imports(path)
    assert top(found) <= set(sys.stdlib_module_names) | {"marshmallow", "walt"}
    assert all(name.startswith("walt.contracts") for name in found if name.startswith("walt"))


@pytest.mark.parametrize("path", sources(*(f"services/{one}" for one in SERVICES)), ids=name_of)
def test_no_service_imports_another(path):
    allowed = tuple(f"services.{part}" for part in ("kit", of_service(path)))
    foreign = {name for name in imports(path) if name.startswith("services.") and not name.startswith(allowed)}
    assert not foreign
    assert all(name.startswith("walt.contracts") for name in of_walt(path))
    assert not top(imports(path)) & {"cli", "deploy"}


@pytest.mark.parametrize("path", sources("services/kit"), ids=name_of)
def test_kit_knows_no_service(path):
    assert all(name.startswith("services.kit") for name in imports(path) if name.startswith("services."))
    assert all(name.startswith("walt.contracts") for name in of_walt(path))
    assert not top(imports(path)) & {"cli", "deploy"}


@pytest.mark.parametrize("path", [*sources("cli"), *sources("walt")], ids=name_of)
def test_the_wheel_imports_nothing_of_a_checkout(path):
    assert not top(imports(path)) & {"services", "cli", "deploy", "tests"}


@pytest.mark.parametrize("path", sources("cli"), ids=name_of)
def test_cli_loads_words_not_machinery(path):
    assert not top(imports(path, at_import_only=True)) & HEAVY
    assert not {name for name in imports(path, at_import_only=True) if name.startswith("walt.contracts.serialization")}


# Within a part, a room (a folder, or a module beside the folders) imports only rooms that stand on a later line.
ROOMS = {
    "services/kit": [
        "presence",
        "bus",
        "web",
        "tasks registry_guard removed_nodes ssh guest_command docker tun reconcile_loop metrics persist_disk",
        "files say_once log_lines unix_server",
        "subprocesses environment monkey_patch unprivileged",
    ],
    "services/nodes": [
        "__main__",
        "service",
        "app",
        "health operator_settings",
        "commands argument_types",
        "storage peers users",
        "metrics",
        "domain",
    ],
    "services/vmrunner": [
        "__main__",
        "service",
        "app",
        "metrics",
        "health",
        "lifecycle",
        "boot",
        "memory disks",
        "qemu",
        "launcher",
        "uids",
    ],
    "services/netemu": [
        "__main__",
        "service",
        "app",
        "health metrics latency",
        "emulation uplink overlay trace_store",
        "cable filters capture",
        "kernel",
        "ports variables",
    ],
    "services/bootserver": [
        "__main__",
        "service",
        "app",
        "health physical addresses",
        "boot",
        "dns ntp persist images request_budget",
        "workers metrics",
        "docker_images image_kernel platform_block site",
    ],
    "services/console": [
        "__main__",
        "service",
        "app",
        "health reconcile requests",
        "line session",
        "amqp_streams",
        "metrics",
    ],
    "cli": ["__main__", "main", "tree", "commands", "lab", "completion transfer", "sessions", "ui", "topics traces"],
    "walt": ["client client_toml replies trace_formats", "configuration", "contracts"],
}


def room_of(path: Path, part: Path) -> str:
    return path.relative_to(part).parts[0].removesuffix(".py")


def rooms_used(path: Path, part: Path) -> set[str]:
    """The rooms of its own part that a module imports."""
    prefix = ".".join([*(("walt",) if part.name == "cli" else ()), *part.relative_to(ROOT).parts, ""])
    found = {name.removeprefix(prefix).partition(".")[0] for name in imports(path) if name.startswith(prefix)}
    return {room for room in found if (part / room).is_dir() or (part / f"{room}.py").is_file()}


@pytest.mark.parametrize("part", ROOMS)
def test_rooms_import_downwards_only(part):
    floor = {room: number for number, line in enumerate(ROOMS[part]) for room in line.split()}
    folder = ROOT / part
    modules = [path for path in sources(part) if path != folder / "__init__.py"]
    assert {room_of(path, folder) for path in modules} == set(floor)
    upwards = {
        (name_of(path), used)
        for path in modules
        for used in rooms_used(path, folder) - {room_of(path, folder)}
        if floor[used] <= floor[room_of(path, folder)]
    }
    assert not upwards


FRAMEWORK = {"nameko", "kombu", "eventlet"}


@pytest.mark.parametrize("path", sources("services", "cli", "walt", "deploy"), ids=name_of)
def test_the_framework_is_imported_below_kit_only(path):
    """What replaces it replaces kit/bus, kit/tasks and kit/web."""
    kit = tuple(f"services/kit/{folder}/" for folder in ("bus", "tasks", "web"))
    if not name_of(path).startswith((*kit, "services/kit/monkey_patch.py")):
        assert not top(imports(path)) & FRAMEWORK


SHAPE = {"service.py", "app.py", "health.py", "metrics.py", "__main__.py"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_shape(service):
    folder = ROOT / "services" / service
    assert {path.name for path in folder.iterdir()} >= SHAPE
    tree = ast.parse((folder / "service.py").read_text())
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    long = {one.name for one in methods if one.end_lineno and one.end_lineno - one.body[0].lineno >= 6}
    assert not long, "service.py translates"


@pytest.mark.parametrize("service", SERVICES)
def test_every_argument_of_a_call_has_a_type(service):
    tree = ast.parse((ROOT / "services" / service / "service.py").read_text())
    for method in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        if {mark.id for mark in method.decorator_list if isinstance(mark, ast.Name)} & {"public", "internal"}:
            untyped = [
                one.arg
                for one in method.args.args[1:]
                if one.annotation is None or ast.unparse(one.annotation) == "Any"
            ]
            assert not untyped, method.name


def class_names() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sources("services", "cli", "walt", "deploy"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name_of(path))
    return found


def test_a_class_name_stands_for_one_thing():
    assert not {name: paths for name, paths in class_names().items() if len(paths) > 1}


IMPORT_IN_TEXT = re.compile(r"from ((?:services|walt|deploy|tests|cli)(?:\.\w+)*) import (\w+(?:, \w+)*)")


def defines(module: str, name: str) -> bool:
    """Whether `from module import name` finds a submodule, or a name that the module's text defines."""
    path = ROOT / module.replace(".", "/")
    if (path / name).is_dir() or (path / f"{name}.py").is_file():
        return True
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    if "def __getattr__" in text:  # its names are found when they are first used
        return True
    pattern = rf"^(?:(?:def|class) |from .* import .*\b|import ){name}\b|^{name}\b.*="
    return re.search(pattern, text, re.MULTILINE) is not None


def texts_in(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_code_in_texts_imports_what_there_is():
    """Programs that tests and the Dockerfile start with `python -c`: no type checker reads them."""
    texts = [text for path in sources("tests", "deploy", "benchmarks", "services") for text in texts_in(path)]
    found = [
        match.groups()
        for text in (*texts, (ROOT / "deploy/Dockerfile").read_text())
        for match in IMPORT_IN_TEXT.finditer(text)
    ]
    missing = [(module, name) for module, names in found for name in names.split(", ") if not defines(module, name)]
    assert found and not missing


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


# container_entrypoint runs in the container of a VM, whose environment is that of its image.
@pytest.mark.parametrize(
    "path", [one for one in sources("services") if one.name != "container_entrypoint.py"], ids=name_of
)
def test_programs_get_an_environment_of_their_own(path):
    """That of a service holds the password of the broker."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for call in calls:
        function = ast.unparse(call.func)
        if re.fullmatch(r"subprocess\.(run|call|check_\w+|Popen|get\w*output)", function):
            assert "env" in {one.arg for one in call.keywords}, f"line {call.lineno}: {function} without env="
        assert not re.fullmatch(r"os\.(exec[lv]p?|spawn[lv]p?|popen|system)", function), (
            f"line {call.lineno}: {function}"
        )


READS_OS_ENVIRON = {f"services/kit/{name}.py" for name in ("environment", "subprocesses", "docker", "monkey_patch")}


@pytest.mark.parametrize("path", sources("services"), ids=name_of)
def test_environment_is_read_in_the_kit_only(path):
    reads = {"os.environ", "os.getenv"} & {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text()))}
    assert not reads or name_of(path) in READS_OS_ENVIRON


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
    heard = [call.args[1] for call in calls if call.func.id in ("event_handler", "on_event")]
    return served | {event.attr for event in heard}


@pytest.mark.parametrize("service", SERVICES)
def test_card_and_contract_name_every_entry_point(service):
    names = entry_points(service)
    assert "diagnose" in names
    for path in (f"services/{service}/service.py", f"walt/contracts/{service}.py"):
        card = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
        assert not {name for name in names if not re.search(rf"\b{name}\b", card)}, path


def test_the_wheel_has_all_packages_and_the_files_that_they_read():
    """`cli` is installed as walt.cli; the services and deploy run from a checkout."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {package: ROOT / package_folder(package) for package in wheel["packages"]}
    assert set(folders.values()) == {path.parent for path in sources("walt", "cli") if path.name == "__init__.py"}
    listed = {
        path
        for package, globs in wheel["package-data"].items()
        for glob in globs
        for path in folders[package].glob(glob)
    }
    files = {path for part in ("walt", "cli") for path in (ROOT / part).rglob("*") if path.is_file()}
    assert listed == {path for path in files if path.suffix not in (".py", ".pyc")}


def package_folder(package: str) -> str:
    return re.sub(r"^walt/cli", "cli", package.replace(".", "/"))


@pytest.mark.parametrize("path", sources("services", "cli", "deploy"), ids=name_of)
def test_size(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {one.name: one.end_lineno - one.lineno + 1 for one in functions if one.end_lineno}
    assert not {name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES}


@pytest.mark.parametrize("path", sources("tests", "benchmarks"), ids=name_of)
def test_size_of_tests(path):
    assert len(path.read_text().splitlines()) <= MAX_TEST_MODULE_LINES
