"""`walt user …`: who may use the platform. For administrators, but for one's own password."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cli.asking import insist
from cli.clientfile import new_file, rewrite, with_login
from cli.forms import Column, echo, output_option
from cli.options import force_option
from cli.output import say
from services.contracts.errors import Failed, InvalidRequest

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the client.toml of this user there, instead of to stdout; the file must be new.",
)


@click.group()
def user() -> None:
    """Who may use the platform, and passwords.

    For administrators, but for one's own password.
    """


@user.command()
@click.argument("name", metavar="NAME")
@click.option("--admin", "administrator", is_flag=True, help="An administrator: may look after users too.")
@config_option
@click.pass_obj
def add(client: Any, name: str, administrator: bool, path: Path | None) -> None:
    """Give a person an account, and print the client.toml for it.

    It holds the password, and is shown only once. Who puts it at ~/.config/walt/client.toml speaks to this platform.
    """
    _hand_over(client, path, "add_user", name=name, administrator=administrator)
    say(f"{name}: added" + (" as an administrator" if administrator else ""))


@user.command()
@click.argument("name", metavar="USER")
@force_option
@click.pass_obj
def remove(client: Any, name: str, force: bool) -> None:
    """Take a person's account away, and close the connections it has. With --force also when nodes are theirs."""
    done = insist(lambda forced: client.call("nodes", "remove_user", name=name, force=forced), force)
    released = ", ".join(one["name"] for one in done["nodes"])
    say(f"{name}: removed" + (f"; released: {released}" if released else ""))
    for note in done["notes"]:
        say(note)


@user.command("list")
@output_option
@click.pass_obj
def list_users(client: Any, output: str) -> None:
    """Show who has an account, nodes, a connection."""
    echo(client.call("nodes", "get_users"), COLUMNS, output, "no users")


@user.command()
@click.argument("name", metavar="[USER]", required=False)
@click.option("--choose", is_flag=True, help="Take the password that is typed, or the first line of stdin.")
@config_option
@click.pass_obj
def passwd(client: Any, name: str | None, choose: bool, path: Path | None) -> None:
    """Change your password, or that of USER. The platform makes a new one, unless --choose.

    Yours is changed in the client.toml that is in use here; that of USER is printed as a whole client.toml.
    """
    password = _chosen() if choose else None
    if name and name != client.configuration.user:
        _hand_over(client, path, "change_password", name=name, password=password)
        say(f"{name}: password changed")
        return
    if path:
        raise click.UsageError("--config goes with the password of another user; yours is changed in the file in use")
    _change_own(client, password)


COLUMNS = [
    Column("name"),
    Column("administrator", cell=lambda row: "yes" if row["administrator"] else "no"),
    Column("connected", cell=lambda row: "yes" if row["connected"] else "no"),
    Column("nodes", cell=lambda row: ",".join(row["nodes"])),
]


def _hand_over(client: Any, path: Path | None, method: str, **arguments: Any) -> None:
    """The order, and the client.toml with the password that it answers."""
    like = client.configuration.source.read_text()
    with_login(like, "user", "password")  # refused before anything changes
    if path is None:
        new = client.call("nodes", method, **arguments)
        click.echo(with_login(like, new["name"], new["password"]), nl=False)
        return
    with new_file(path) as file:
        new = client.call("nodes", method, **arguments)
        file.write(with_login(like, new["name"], new["password"]))


def _change_own(client: Any, password: str | None) -> None:
    source = client.configuration.source
    like = source.read_text()
    with_login(like, "user", "password")
    new = client.call("nodes", "change_password", password=password)
    text = with_login(like, new["name"], new["password"])
    try:
        rewrite(source, text)
    except Failed as failure:
        click.echo(text, nl=False)
        raise Failed(f"the password is changed, but {failure}; what it must contain is printed") from None
    say(f"{new['name']}: password changed, in {source} too")


def _chosen() -> str:
    """Never an argument: the arguments of a command are everybody's to see."""
    if sys.stdin.isatty():
        return str(click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InvalidRequest("--choose: stdin holds no password; allowed: its first line")
    return line
