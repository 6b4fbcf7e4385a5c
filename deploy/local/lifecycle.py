"""up, down, status, clean and user of one instance. Each may be run again after a crash at any line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from deploy.local import accounts, host_ksm, host_nat, network, programs, readiness, supervisor
from deploy.local.instance import IMAGES, Instance, Uplink, host_label, local_hosts
from deploy.local.programs import Progress
from services.kit.files import write_atomically
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Conflict, Failed
from walt.contracts.names import check_user_name

CHECKOUT = Path(__file__).resolve().parents[2]
OPTIONS = "instance.json"
DEFAULT_RECIPES = {DEFAULT_IMAGE: "debian"}


@dataclass(frozen=True)
class InstanceOptions:
    """Options of `up`, stored for later ones. host: in the rows of the registry, so it must not change; hosts: how many
    there are, with this one."""

    host: str
    recipes: Mapping[str, str]
    internet: bool = False
    watch_consoles: str = "owner"
    ksm: bool = True
    hosts: int = 1


def up(instance: Instance, options: Mapping[str, Any], user: str, progress: Progress) -> None:
    """The platform of this instance answers when this returns. options: fields of InstanceOptions that change."""
    with alone(instance):
        _check_checkout(instance)
        merged = _merged_options(instance, options)
        if merged.internet:
            host_nat.check()
        images = {name: _image(recipe, progress) for name, recipe in merged.recipes.items()}
        write_atomically(options_file(instance), json.dumps(asdict(merged), indent=1))
        passwords = accounts.ensure(instance, local_hosts(instance, merged.host, merged.hosts))
        with contextlib.ExitStack() as undo:
            uplink, is_new = _network(instance, progress)
            if is_new:
                undo.callback(_take_down, instance)
            _set_up_host(instance, uplink, merged, progress)
            setup = programs.Setup(
                instance=instance,
                uplink=uplink,
                host=merged.host,
                checkout=CHECKOUT,
                python=Path(sys.executable),
                passwords=passwords,
                images=images,
                watch_consoles=merged.watch_consoles,
                host_count=merged.hosts,
                resolvers=host_nat.resolvers() if merged.internet else (),
                docker_host=os.environ.get("DOCKER_HOST", ""),
            )
            write_atomically(instance.public_methods, "\n".join([*accounts.public_methods(CHECKOUT), ""]))
            accounts.write_broker(instance, uplink, passwords)
            accounts.readdress(instance, uplink)
            _run_programs(setup, is_new, progress)
            if not is_new:
                accounts.import_definitions(instance, uplink)
            readiness.wait(setup, progress)
            undo.pop_all()
        accounts.provide(instance, uplink, user, administrator=True)
        if _may_install(instance):
            accounts.install_client(instance, user)


def down(instance: Instance, progress: Progress) -> None:
    """No process, namespace, interface, mount or socket of the instance is left; its state is."""
    with alone(instance):
        _end(instance, progress)


def clean(instance: Instance, progress: Progress) -> None:
    """`down`, and its registry, disks, accounts, logs and users' images are forgotten. The platform's images stay."""
    with alone(instance):
        _end(instance, progress)
        is_installed = accounts.is_installed(instance)
        network.unmount_below(instance.state)
        if instance.user_images.exists():
            shutil.rmtree(instance.user_images)
        if instance.state.exists():
            shutil.rmtree(instance.state)
            progress(f"forgot the state in {instance.state}")
        if is_installed:
            accounts.installed_client().unlink()
        _lock_file(instance).unlink()


def add_user(instance: Instance, user: str, administrator: bool) -> Path:
    """The user's client.toml. One that works is kept as it is, unless it is to be an administrator's."""
    check_user_name(user)
    with alone(instance):
        uplink = network.find(instance)
        if uplink is None:
            raise Conflict(f"instance {instance.name} is down; allowed: 'user' after 'up'")
        return accounts.provide(instance, uplink, user, administrator, new_password=administrator)


def is_up(instance: Instance) -> bool:
    return network.exists(instance) and supervisor.is_alive(instance)


def _network(instance: Instance, progress: Progress) -> tuple[Uplink, bool]:
    """The addresses, and whether they are new: what a crash left of an instance is cleared away first."""
    uplink = network.find(instance)
    if uplink is not None and supervisor.is_alive(instance):
        return uplink, False
    _take_down(instance)
    uplink = network.make(instance)
    progress(f"network namespace {instance.namespace} made, joined to the host by {uplink.host} - {uplink.inside}")
    return uplink, True


def _set_up_host(instance: Instance, uplink: Uplink, options: InstanceOptions, progress: Progress) -> None:
    _internet(instance, uplink, options.internet, progress)
    _merge_memory(instance, options.ksm, progress)


def _internet(instance: Instance, uplink: Uplink, wanted: bool, progress: Progress) -> None:
    if not wanted:
        host_nat.withdraw(instance)
        return
    host_nat.allow(instance, uplink)
    progress("nodes with netsetup=NAT reach what this host reaches")


def _merge_memory(instance: Instance, wanted: bool, progress: Progress) -> None:
    if not wanted:
        host_ksm.release(instance.name)
    elif fault := host_ksm.hold(instance.name):
        progress(f"nodes do not share memory (KSM): {fault}")


def _run_programs(setup: programs.Setup, is_new: bool, progress: Progress) -> None:
    instance = setup.instance
    for folder in instance.private:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    for host in setup.hosts[1:]:
        network.add_host(host, setup.uplink)
    for host in setup.hosts:
        host.state.mkdir(parents=True, exist_ok=True)
        host.runtime.mkdir(parents=True, exist_ok=True)
    write_atomically(_owner_file(instance), f"{CHECKOUT}\n")
    write_atomically(instance.supervisor_config, programs.supervisor_config(setup), 0o600)
    if is_new:
        supervisor.start(instance)
        progress("supervisor started: RabbitMQ, DNS and disk servers, five services")
        return
    changed = supervisor.update(instance)
    progress(f"instance {instance.name} is up already" + (f"; restarted: {', '.join(changed)}" if changed else ""))


def _end(instance: Instance, progress: Progress) -> None:
    if not instance.runtime.exists() and not network.exists(instance):
        progress(f"instance {instance.name} is down")
    else:
        progress(f"taking down instance {instance.name}")
    _take_down(instance)


def _take_down(instance: Instance) -> None:
    supervisor.end(instance)
    network.end_processes(instance)
    network.unmount_below(instance.runtime)
    host_nat.withdraw(instance)
    host_ksm.release(instance.name)
    network.remove(instance)
    shutil.rmtree(instance.runtime, ignore_errors=True)
    with contextlib.suppress(OSError):
        instance.runtime.parent.rmdir()  # kept while another instance is in it


def _merged_options(instance: Instance, options: Mapping[str, Any]) -> InstanceOptions:
    path = options_file(instance)
    default = InstanceOptions(host_label(socket.gethostname()), DEFAULT_RECIPES)
    known = InstanceOptions(**json.loads(path.read_text())) if path.exists() else default
    merged = replace(known, **options)
    if merged.hosts < known.hosts:
        raise Conflict(
            f"instance {instance.name} has {known.hosts} hosts; allowed: as many or more (a new one after 'clean')"
        )
    return merged


def options_file(instance: Instance) -> Path:
    return instance.state / OPTIONS


def _image(recipe: str, progress: Progress) -> str:
    """The folder of a built image, by its name in the cache."""
    progress(f"image '{recipe}'")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.images", recipe],
        cwd=CHECKOUT,
        env={**os.environ, "WALT_IMAGES_DIR": str(IMAGES)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"image '{recipe}' could not be built")
    return Path(done.stdout.strip()).name


def _check_checkout(instance: Instance) -> None:
    path = _owner_file(instance)
    if path.exists() and path.read_text().strip() != str(CHECKOUT) and is_up(instance):
        raise Conflict(
            f"instance {instance.name} is up from another checkout, {path.read_text().strip()}; "
            "allowed: 'make down' there, or another name (INSTANCE=NAME)"
        )


def _lock_file(instance: Instance) -> Path:
    return instance.state.with_name(f".{instance.name}.lock")


def _owner_file(instance: Instance) -> Path:
    return instance.runtime / "checkout"


def _may_install(instance: Instance) -> bool:
    """Whether `walt` of this checkout may be configured for this instance: not while it is for another one that is
    up."""
    path = accounts.installed_client()
    if not path.exists():
        return True
    first_line = path.read_text().split("\n", 1)[0].split()
    try:
        other = Instance(first_line[-1])
    except (IndexError, ValueError):
        raise Conflict(f"{path} was not written by the launcher; move it away, or use WALT_CONFIG") from None
    return other == instance or not is_up(other)


@contextlib.contextmanager
def alone(instance: Instance) -> Iterator[None]:
    """Only one launcher at a time works on an instance."""
    if os.geteuid() != 0:
        raise Failed("local mode makes network namespaces and starts VMs: run it as root")
    path = _lock_file(instance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        file = _locked(stack, path)
        while not (path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino):  # `clean` has removed it
            file = _locked(stack, path)
        yield


def _locked(stack: contextlib.ExitStack, path: Path) -> IO[str]:
    file = stack.enter_context(path.open("w"))
    fcntl.flock(file, fcntl.LOCK_EX)
    return file
