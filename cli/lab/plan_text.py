"""A plan as lines for people: + what comes, ~ what changes, - what goes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from walt.contracts import network_uses
from walt.contracts.labs import CHANGE, CREATE, REMOVE, LabAction, LabChange
from walt.contracts.network_uses import NetworkUse

SIGNS = {CREATE: "+", CHANGE: "~", REMOVE: "-"}
COUNTED = {CREATE: "to create", CHANGE: "to change", REMOVE: "to remove"}
PLAIN = "plain"


def lines(actions: Sequence[LabAction]) -> list[str]:
    """'~ vnode1: ram 512M -> 1G; reboots'"""
    return [f"{SIGNS[one.kind]} {one.node}{_details(one)}" for one in actions]


def summary(lab: str, actions: Sequence[LabAction]) -> str:
    joining = [one.node for one in actions if one.kind == CHANGE and is_membership(one)]
    counts = {kind: sum(one.kind == kind for one in actions if one.node not in joining) for kind in COUNTED}
    said = ", ".join(f"{count} {COUNTED[kind]}" for kind, count in counts.items() if count) or "no change"
    return f"{lab}: {said}" + (
        f"; {', '.join(joining)} {'join' if len(joining) > 1 else 'joins'} it" if joining else ""
    )


def is_membership(action: LabAction) -> bool:
    """The node becomes one of the lab, as it is."""
    return action.joins and not (action.changes or action.reboots or action.starts)


def _details(action: LabAction) -> str:
    if action.kind == REMOVE:
        return " with its disks and files"
    what = [text for change in action.changes for text in _change(change, action.kind == CREATE)]
    if action.kind == CREATE:
        return f" on {action.host}" + (f": {', '.join(what)}" if what else "")
    consequences = {"joins the lab": action.joins, "starts": action.starts, "reboots": action.reboots}
    parts = [", ".join(what), *(text for text, is_so in consequences.items() if is_so)]
    if what and not (action.reboots or action.starts):
        parts.append("live")
    return ": " + "; ".join(filter(None, parts))


def _change(change: LabChange, is_new: bool) -> Iterator[str]:
    if change.name == "networks":
        yield from _networks(change, is_new)
    elif is_new:
        yield f"{change.name}={change.after}"
    else:
        yield f"{change.name} {change.before} -> {change.after}"


def _networks(change: LabChange, is_new: bool) -> Iterator[str]:
    """One part for each network; of those that stay, the links that differ."""
    after = _by_name(change.after)
    if is_new:
        yield f"networks={change.after}"
        return
    before = _by_name(change.before)
    for name in before.keys() - after.keys():
        yield f"leaves {name}"
    for name, use in after.items():
        link, old = _link(use), before.get(name)
        if old is None:
            yield f"enters {name}" + (f" ({link})" if link != PLAIN else "")
        elif _link(old) != link:
            yield f"link to {name} {_link(old)} -> {link}"
    if before.keys() == after.keys() and list(before) != list(after):
        yield f"interfaces in the order {', '.join(after)}"


def _by_name(text: str) -> dict[str, NetworkUse]:
    return {use.name: use for use in network_uses.parse_networks(text)}


def _link(use: NetworkUse) -> str:
    return ",".join(network_uses.format_port(use)) or PLAIN
