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

from deploy.local import accounts, internet, network, programs, readiness, supervisor
from deploy.local.instance import IMAGES, Instance, Uplink, host_label
from deploy.local.programs import Say
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.errors import Conflict, Failed
from services.contracts.names import check_user_name
from services.kit.files import write_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_RECIPES = {DEFAULT_IMAGE: "debian"}


@dataclass(frozen=True)
class Choice:
    """What an `up` chose, for all later ones: the host's label is in the registry's rows."""

    host: str
    recipes: Mapping[str, str]
    internet: bool = False
    watch_consoles: str = "owner"


def up(instance: Instance, chosen: Mapping[str, Any], user: str, say: Say) -> None:
    """The platform of this instance answers when this returns. chosen: of a `Choice`; the rest is as the last time."""
    with _alone(instance):
        _check_checkout(instance)
        choice = _choice(instance, chosen)
        if choice.internet:
            internet.check()
        images = {name: _image(recipe, say) for name, recipe in choice.recipes.items()}
        write_atomically(_choice_file(instance), json.dumps(asdict(choice), indent=1))
        passwords = accounts.ensure(instance)
        public = accounts.public_methods(CHECKOUT)
        with contextlib.ExitStack() as undo:
            uplink, is_new = _network(instance, say)
            if is_new:
                undo.callback(_take_down, instance)
            _internet(instance, uplink, choice.internet, say)
            setup = programs.Setup(
                instance=instance,
                uplink=uplink,
                host=choice.host,
                checkout=CHECKOUT,
                python=Path(sys.executable),
                services_password=passwords[programs.SERVICES_ACCOUNT],
                accounts_password=passwords[programs.ACCOUNTS_ACCOUNT],
                images=images,
                watch_consoles=choice.watch_consoles,
                resolvers=internet.resolvers() if choice.internet else (),
                docker_host=os.environ.get("DOCKER_HOST", ""),
            )
            write_atomically(instance.public_methods, "\n".join([*public, ""]))
            accounts.write_broker(instance, uplink, passwords)
            accounts.readdress(instance, uplink)
            _run_programs(setup, is_new, say)
            readiness.wait(setup, say)
            undo.pop_all()
        if not is_new:
            accounts.import_definitions(instance, uplink)
        accounts.provide(instance, uplink, user, administrator=True)
        if _may_install(instance):
            accounts.install_client(instance, user)


def down(instance: Instance, say: Say) -> None:
    """No process, namespace, interface, mount or socket of the instance is left; its state is."""
    with _alone(instance):
        _end(instance, say)


def clean(instance: Instance, say: Say) -> None:
    """`down`, and its registry, disks, accounts, logs and users' images are forgotten. The platform's images stay."""
    with _alone(instance):
        _end(instance, say)
        is_installed = accounts.is_installed(instance)
        network.unmount_below(instance.state)
        if instance.user_images.exists():
            shutil.rmtree(instance.user_images)
        if instance.state.exists():
            shutil.rmtree(instance.state)
            say(f"forgot the state in {instance.state}")
        if is_installed:
            accounts.installed_client().unlink()
        _lock_file(instance).unlink()


def add_user(instance: Instance, user: str, administrator: bool) -> Path:
    """The user's client.toml. One that works is kept as it is, unless it is to be an administrator's."""
    check_user_name(user)
    with _alone(instance):
        uplink = network.find(instance)
        if uplink is None:
            raise Conflict(f"instance {instance.name} is down; allowed: 'user' after 'up'")
        return accounts.provide(instance, uplink, user, administrator, anew=administrator)


def is_up(instance: Instance) -> bool:
    return network.exists(instance) and supervisor.is_alive(instance)


def _network(instance: Instance, say: Say) -> tuple[Uplink, bool]:
    """The addresses, and whether they are new: what a crash left of an instance is cleared away first."""
    uplink = network.find(instance)
    if uplink is not None and supervisor.is_alive(instance):
        return uplink, False
    _take_down(instance)
    uplink = network.make(instance)
    say(f"network namespace {instance.namespace} made, joined to the host by {uplink.host} - {uplink.inside}")
    return uplink, True


def _internet(instance: Instance, uplink: Uplink, wanted: bool, say: Say) -> None:
    if not wanted:
        internet.withdraw(instance)
        return
    internet.allow(instance, uplink)
    say("nodes with netsetup=NAT reach what this host reaches")


def _run_programs(setup: programs.Setup, is_new: bool, say: Say) -> None:
    instance = setup.instance
    for folder in instance.private:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    instance.runtime.mkdir(parents=True, exist_ok=True)
    write_atomically(_owner_file(instance), f"{CHECKOUT}\n")
    write_atomically(instance.supervisor_config, programs.supervisor_config(setup), 0o600)
    if is_new:
        supervisor.start(instance)
        say("supervisor started: RabbitMQ, NFS and DNS servers, five services")
        return
    changed = supervisor.update(instance)
    say(f"instance {instance.name} is up already" + (f"; restarted: {', '.join(changed)}" if changed else ""))


def _end(instance: Instance, say: Say) -> None:
    if not instance.runtime.exists() and not network.exists(instance):
        say(f"instance {instance.name} is down")
    else:
        say(f"taking down instance {instance.name}")
    _take_down(instance)


def _take_down(instance: Instance) -> None:
    supervisor.end(instance)
    network.end_processes(instance)
    network.unmount_below(instance.runtime)
    internet.withdraw(instance)
    network.remove(instance)
    shutil.rmtree(instance.runtime, ignore_errors=True)
    with contextlib.suppress(OSError):
        instance.runtime.parent.rmdir()  # kept while another instance is in it


def _choice(instance: Instance, chosen: Mapping[str, Any]) -> Choice:
    path = _choice_file(instance)
    default = Choice(host_label(socket.gethostname()), DEFAULT_RECIPES)
    known = Choice(**json.loads(path.read_text())) if path.exists() else default
    return replace(known, **chosen)


def _choice_file(instance: Instance) -> Path:
    return instance.state / "instance.json"


def _image(recipe: str, say: Say) -> str:
    """The folder of a built image, by its name in the cache."""
    say(f"image '{recipe}'")
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
    """Whether `walt` of this checkout may be pointed at this instance: not away from another one that is up."""
    path = accounts.installed_client()
    if not path.exists():
        return True
    words = path.read_text().split("\n", 1)[0].split()
    try:
        other = Instance(words[-1])
    except (IndexError, ValueError):
        raise Conflict(f"{path} was not written by the launcher; move it away, or use WALT_CONFIG") from None
    return other == instance or not is_up(other)


@contextlib.contextmanager
def _alone(instance: Instance) -> Iterator[None]:
    """One launcher at a time works on an instance."""
    if os.geteuid() != 0:
        raise Failed("local mode makes network namespaces and starts machines: run it as root")
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
