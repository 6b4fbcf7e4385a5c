"""Pure: what a lab document asks of the registry, node by node: which are created, changed and removed, and why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.nodes.domain import model, notes, ownership, placement, settings_request
from services.nodes.domain.model import Node, RequestContext
from services.nodes.domain.placement import HostState, Unplaced
from services.nodes.domain.settings_request import Capacities
from walt.contracts import lab_check, labs, nodes, settings, vmrunner
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Conflict, InvalidRequest, NotOwner, WaltError
from walt.contracts.lab_check import CheckedNode, FaultList
from walt.contracts.labs import LabAction, LabChange, LabDocument, LabFault
from walt.contracts.settings import NodeConfig

LABS_OF_ONE = 100  # of one account: each keeps a document in the registry
MAX_IMAGES = 50

Images = Mapping[str, tuple[str, Sequence[WaltError]]]  # {as in the document: (full name, why it cannot be used)}
NewNode = Callable[[CheckedNode, str], Node]  # of the document, on this host


@dataclass(frozen=True)
class LabRequest:
    """A document as far as it can be judged without the registry. nodes: with full names of images."""

    document: LabDocument
    nodes: tuple[CheckedNode, ...]
    faults: tuple[LabFault, ...]


@dataclass(frozen=True)
class LabPlan:
    """before, after: of each node that is removed, changed or created, in this order; kept: the other nodes of the
    lab."""

    actions: tuple[LabAction, ...] = ()
    before: tuple[Node, ...] = ()
    after: tuple[Node, ...] = ()
    kept: tuple[Node, ...] = ()
    faults: tuple[LabFault, ...] = ()


def images_of(document: LabDocument) -> list[str]:
    """As the document names them, each once; InvalidRequest for more than bootserver is asked about at once."""
    images = list(dict.fromkeys(node.image or DEFAULT_IMAGE for node in document.nodes))
    if len(images) > MAX_IMAGES:
        raise InvalidRequest(f"{len(images)} images are too many; allowed: at most {MAX_IMAGES} in one lab")
    return images


def parse(document: LabDocument, capacities: Capacities, images: Images) -> LabRequest:
    checked, faults = lab_check.check(document), FaultList()
    for node in document.nodes:
        path = ("nodes", node.name, "image", node.image)
        for error in images[node.image or DEFAULT_IMAGE][1]:
            faults.add(path, *map(str, error.args), error=type(error))
    for one in checked.nodes:
        faults.add(("nodes", one.name, "ram"), *placement.faults_of_ram(one.config.ram_bytes, capacities))
    resolved = [replace(one, image=images[one.image or DEFAULT_IMAGE][0]) for one in checked.nodes]
    return LabRequest(document, tuple(resolved), (*checked.faults, *faults.found))


def check_number(names: Sequence[str], name: str) -> None:
    """names: of the labs that the account has."""
    if name not in names and len(names) >= LABS_OF_ONE:
        raise Conflict(f"{len(names)} labs are yours; allowed: at most {LABS_OF_ONE} (walt lab destroy NAME)")


def plan(
    request: LabRequest,
    present: Iterable[Node],
    hosts: Sequence[HostState],
    new_node: NewNode,
    context: RequestContext,
) -> LabPlan:
    """present: the nodes of the lab, and those of the names that it asks for, whosever. No new_node is called where
    there is a fault."""
    lab, by_name, faults = request.document.name, {node.name: node for node in present}, FaultList()
    asked = {one.name: by_name.get(one.name) for one in request.nodes}
    for wanted in request.nodes:
        node = by_name.get(wanted.name)
        if node:
            _check_usable(lab, node, wanted, context, faults)
    unplaced = [_unplaced(one) for one in request.nodes if one.name not in by_name]
    for new in unplaced:
        _check_placeable(new, hosts, faults)
    if request.faults or faults.found:
        return LabPlan(faults=(*request.faults, *faults.found))
    leaving = [node for node in by_name.values() if node.name not in asked]
    steps = [(node, model.removed(node)) for node in sorted(leaving, key=lambda node: node.name)]
    kept = []
    for wanted in request.nodes:
        node = by_name.get(wanted.name)
        after = _changed(node, wanted, lab, context) if node else None
        if node and after is not node and after:
            steps.append((node, after))
        elif node:
            kept.append(node)
    placed = placement.place(unplaced, hosts)
    created = [new_node(one, placed[one.name]) for one in request.nodes if one.name not in by_name]
    steps += [(node, node) for node in created]
    before, after_all = tuple(old for old, _ in steps), tuple(new for _, new in steps)
    return LabPlan(tuple(_action(old, new) for old, new in steps), before, after_all, tuple(kept))


def _check_usable(lab: str, node: Node, wanted: CheckedNode, context: RequestContext, faults: FaultList) -> None:
    """A node that is there already can become one of the lab."""
    path = ("nodes", wanted.name)
    try:
        ownership.check_owned([node], context.account)
    except NotOwner as refused:
        faults.add(path, *refused.args, error=NotOwner)
        return
    if not node.is_virtual:
        faults.add(path, f"node '{node.name}' is a physical machine; allowed: virtual nodes", error=Conflict)
    elif node.lab not in ("", lab):
        sentence = f"node '{node.name}' is of your lab {node.lab}; allowed: one of no lab, or another name"
        faults.add(path, sentence, error=Conflict)
    elif wanted.host not in ("", node.host):
        move = f"walt node config {node.name} host={wanted.host}"
        sentence = f"node '{node.name}' is on host {node.host}; allowed: {node.host}, or move it first ({move})"
        faults.add((*path, "host", wanted.host), sentence, error=Conflict)
    else:
        faults.add((*path, "persist"), *settings_request.persist_faults(node.config, wanted.config))


def _unplaced(wanted: CheckedNode) -> Unplaced:
    return Unplaced(wanted.name, wanted.config.ram_bytes, wanted.config.networks, wanted.host)


def _check_placeable(new: Unplaced, hosts: Sequence[HostState], faults: FaultList) -> None:
    try:
        placement.place([new], hosts)
    except WaltError as refused:
        faults.add(("nodes", new.name, "host", new.host), *map(str, refused.args), error=type(refused))


def _changed(node: Node, wanted: CheckedNode, lab: str, context: RequestContext) -> Node:
    """The same node when it is as wanted. One that is off is started; one that has to boot for its changes reboots."""
    new = model.changed(model.configured(node, wanted.config), image=wanted.image, lab=lab)
    if _needs_start(node):
        return model.started(new, context)
    if _needs_boot(node, new):
        return model.with_new_boot(new, f"lab {lab} applied by {context.user}", context.at)
    return new


def _needs_start(node: Node) -> bool:
    return node.power != nodes.POWER_ON or node.status.state == vmrunner.STOPPED


def _needs_boot(before: Node, after: Node) -> bool:
    return before.image != after.image or bool(notes.waiting_settings(before.config, after.config))


def _action(before: Node, after: Node) -> LabAction:
    if not before.id:
        return LabAction(labs.CREATE, after.name, after.host, tuple(_changes(after)))
    if not after.is_present:
        return LabAction(labs.REMOVE, after.name, after.host)
    return LabAction(
        labs.CHANGE,
        after.name,
        after.host,
        tuple(_changes(after, before)),
        reboots=not _needs_start(before) and _needs_boot(before, after),
        starts=_needs_start(before),
        joins=before.lab != after.lab,
    )


def _changes(after: Node, before: Node | None = None) -> list[LabChange]:
    """Of the image and the settings: those that differ; of a new node, those that differ from the defaults."""
    old = _shown(before.image, before.config) if before else _shown(DEFAULT_IMAGE, NodeConfig())
    new = _shown(after.image, after.config)
    return [LabChange(name, old[name] if before else "", text) for name, text in new.items() if text != old[name]]


def _shown(image: str, config: NodeConfig) -> dict[str, str]:
    return {"image": image, **settings.show_settings(config)}
