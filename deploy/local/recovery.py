"""backup and restore of one instance."""

from __future__ import annotations

from pathlib import Path

from deploy import backup
from deploy.local import accounts, lifecycle, network
from deploy.local.instance import Instance
from services.kit.files import write_atomically
from services.nodes.storage.database import sqlite_url
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.names import is_user_name


def save(instance: Instance, path: Path) -> backup.Backup:
    """The file is complete, or not there."""
    with lifecycle.alone(instance):
        if path.exists():
            raise Conflict(f"{path} is there already; allowed: the name of a new file")
        uplink = network.find(instance)
        if uplink is None or not lifecycle.is_up(instance):
            raise Conflict(
                f"instance {instance.name} is down; allowed: 'backup' after 'up': its broker knows the users"
            )
        made = backup.make(_registry(instance), accounts.export(instance, uplink), _files(instance))
        write_atomically(path, backup.pack(made), 0o600)
        return made


def restore(instance: Instance, content: bytes, replace: bool) -> backup.Backup:
    """The next `up` starts from it. replace: a registry that is there."""
    found = backup.unpack(content)
    faults = [name for name in found.files if not _is_ours(name)]
    if faults:
        raise InvalidRequest(f"this backup has files of no local instance: {', '.join(faults)}")
    with lifecycle.alone(instance):
        if lifecycle.is_up(instance):
            raise Conflict(f"instance {instance.name} is up; allowed: 'restore' after 'down'")
        for folder in instance.private:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        backup.put_back(found, _registry(instance), _folder(instance), replace)
        for name, text in found.files.items():
            write_atomically(instance.state / name, text, 0o600)
    return found


def _folder(instance: Instance) -> Path:
    return instance.state / "nodes"


def _registry(instance: Instance) -> str:
    return sqlite_url(_folder(instance))


def _files(instance: Instance) -> dict[str, str]:
    """The options, as the name of the host is in the rows of the registry, and what `walt` of each user reads."""
    paths = [lifecycle.options_file(instance), *instance.clients.glob("*.toml")]
    return {str(path.relative_to(instance.state)): path.read_text() for path in paths}


def _is_ours(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if not folder:
        return file == lifecycle.OPTIONS
    return folder == "clients" and file.endswith(".toml") and is_user_name(file.removesuffix(".toml"))
