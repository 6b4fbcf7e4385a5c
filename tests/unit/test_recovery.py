"""The commands of docs/recovery.md are those of the launchers, and its units call them."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest

from cli.tree import walt
from deploy import backup
from deploy.compose.__main__ import main as setup
from deploy.local import accounts, lifecycle, network, recovery
from deploy.local.__main__ import main as local
from deploy.local.instance import Instance
from services.nodes.storage.dump import Dump
from services.nodes.storage.registry import RegistryStore
from tests.unit.deploy.test_lifecycle import lab  # noqa: F401  a fixture
from walt.contracts.errors import Conflict, InvalidRequest

PAGE = (Path(__file__).parents[2] / "docs/recovery.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
UNITS = dict(re.findall(r"`/etc/systemd/system/(walt-backup\.\w+)`:\n\n```ini\n(.*?)```", PAGE, re.DOTALL))


def parse(group: click.Group, arguments: list[str]) -> None:
    command = group.commands[arguments[0]]
    command.make_context(arguments[0], [("-" if "/" in one else one) for one in arguments[1:]])


@pytest.mark.parametrize("line", [line for block in BLOCKS for line in block.splitlines()])
def test_command_exists(line: str) -> None:
    words = shlex.split(re.sub(r"[()]|umask 077;|[<>] \S+", " ", line))
    if words[:3] == [".venv/bin/python", "-m", "deploy.local"]:
        parse(local, words[3:])
    elif "setup" in words:
        parse(setup, words[words.index("setup") + 1 :])
    elif words[0] == "walt":
        group = walt.commands[words[1]]
        assert isinstance(group, click.Group)
        parse(group, words[2:])
    else:
        assert words[0] in ("make", "docker", "systemctl")


def test_the_timer_starts_the_service() -> None:
    parsed = {}
    for name, text in UNITS.items():
        parsed[name] = configparser.ConfigParser(interpolation=None)
        parsed[name].optionxform = str
        parsed[name].read_string(text)
    assert set(parsed) == {"walt-backup.service", "walt-backup.timer"}
    start = parsed["walt-backup.service"]["Service"]["ExecStart"]
    words = shlex.split(re.sub(r"\$\(date [^)]*\)", "DATE", shlex.split(start)[-1]))
    assert words[:4] == ["exec", ".venv/bin/python", "-m", "deploy.local"]
    parse(local, words[4:])
    assert parsed["walt-backup.timer"]["Timer"]["OnCalendar"]


def test_what_is_saved_comes_back_in_another_instance(lab, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(network, "find", lambda instance: "an uplink")
    monkeypatch.setattr(accounts, "export", lambda instance, uplink: [])
    monkeypatch.setattr(lifecycle, "is_up", lambda instance: instance == lab)
    registry = RegistryStore(recovery._registry(lab))
    for name in ("instance.json", "clients/root.toml"):
        (lab.state / name).parent.mkdir(parents=True, exist_ok=True)
        (lab.state / name).write_text(name)
    recovery.save(lab, tmp_path / "file")
    registry.close()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="is there already"):
        recovery.save(lab, tmp_path / "file")
    with pytest.raises(Conflict, match="is up; allowed: 'restore' after 'down'"):
        recovery.restore(lab, (tmp_path / "file").read_bytes(), replace=True)

    other = Instance("other")
    recovery.restore(other, (tmp_path / "file").read_bytes(), replace=False)
    for name in ("instance.json", "clients/root.toml"):
        assert (other.state / name).read_text() == name
        assert (other.state / name).stat().st_mode & 0o777 == 0o600
    assert (other.state / "nodes").stat().st_mode & 0o777 == 0o700
    with pytest.raises(Conflict, match="--force"):
        recovery.restore(other, (tmp_path / "file").read_bytes(), replace=False)


@pytest.mark.parametrize("name", ["../x", "clients/../../x.toml", "clients/x", "/etc/passwd", "ca.key"])
def test_a_backup_writes_nothing_but_what_is_ours(lab, name):  # noqa: F811
    made = backup.Backup(1.0, Dump("0008", {}), (), {name: "x"})
    with pytest.raises(InvalidRequest, match="has files of no local instance"):
        recovery.restore(lab, backup.pack(made), replace=True)
    assert not lab.state.exists()
