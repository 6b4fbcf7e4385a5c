"""Services of the last release and of this version understand each other: a platform is renewed while it runs."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest

from services.kit.bus.arguments import Signature
from tests.contract_snapshot import LAST_RELEASE, faults, present, snapshot, written
from tests.support.specs import spec
from walt.contracts import serialization
from walt.contracts.errors import UnknownArgument
from walt.contracts.hosts import AgentPresent
from walt.contracts.vmrunner import VmReport
from walt.replies import read

OLD = {
    "methods": {"nodes.rename_node": {"name": ["str", True], "new_name": ["str", True]}},
    "messages": {"Report": {"state": ["str", True], "reason": ["str", False]}},
}


def test_the_last_release_and_this_version_understand_each_other():
    """Where this fails: a new field or argument needs a default, and nothing is removed or changed that the last
    release uses; at a release the file is written anew (see CONTRIBUTING)."""
    assert faults(json.loads(LAST_RELEASE.read_text()), present()) == []


def test_snapshot_has_what_crosses_the_bus():
    found = present()
    assert found["methods"]["nodes.rename_node"] == OLD["methods"]["nodes.rename_node"]
    assert "nodes.reconcile" not in found["methods"], "a timer"
    assert {"NodeWanted", "VmReport", "Capacity", "LabDocument", "NodeBooted"} <= found["messages"].keys()
    assert found["messages"]["NodeWanted"]["registry"] == ["str", False]
    assert json.loads(written(found)) == found
    assert snapshot({}) == {"methods": {}, "messages": {}}


def test_additions_with_defaults_are_no_faults():
    new = copy.deepcopy(OLD)
    new["methods"]["nodes.rename_node"]["force"] = ["bool", False]
    new["methods"]["nodes.pause"] = {"name": ["str", True]}
    new["messages"]["Report"]["cause"] = ["str", False]
    del new["messages"]["Report"]["reason"]
    assert faults(OLD, new) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda new: new["methods"].clear(), "nodes.rename_node is gone: the version before uses it"),
        (lambda new: new["messages"].clear(), "Report is gone: the version before uses it"),
        (
            lambda new: new["methods"]["nodes.rename_node"].pop("name"),
            "nodes.rename_node.name is gone: the version before gives it",
        ),
        (
            lambda new: new["methods"]["nodes.rename_node"].update(by=["str", True]),
            "nodes.rename_node.by is required: the version before does not send it",
        ),
        (lambda new: new["messages"]["Report"].pop("state"), "Report.state is gone: the version before requires it"),
        (
            lambda new: new["messages"]["Report"].update(cause=["str", True]),
            "Report.cause is required: the version before does not send it",
        ),
        (
            lambda new: new["messages"]["Report"].update(state=["int", True]),
            "Report.state is int; the version before has str",
        ),
    ],
)
def test_what_one_side_would_not_understand_is_a_fault(change, fault):
    new = copy.deepcopy(OLD)
    change(new)
    assert faults(OLD, new) == [fault]


VALUES = [spec(), VmReport(1, "a", "lab", 1, 1, 1, "booted", 1.0, "why"), AgentPresent("lab", "vmrunner")]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_message_of_a_newer_version_is_read_without_what_is_new(value):
    newer = {**serialization.dump(value), "of_tomorrow": {"a": [1]}}
    assert serialization.load(type(value), newer) == read(type(value), newer) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_message_of_the_last_release_is_read_with_defaults(value):
    """It has the fields that were required there."""
    old = json.loads(LAST_RELEASE.read_text())["messages"][type(value).__name__]
    sent = {name: one for name, one in serialization.dump(value).items() if old.get(name, ["", False])[1]}
    loaded = serialization.load(type(value), sent)
    defaults = {one.name: one.default for one in dataclasses.fields(value) if one.name not in sent}
    for name, default in defaults.items():
        assert default is dataclasses.MISSING or getattr(loaded, name) == default


def test_an_argument_that_a_service_does_not_know_is_refused_as_such():
    def rename(self: object, name: str) -> None: ...

    with pytest.raises(UnknownArgument):
        Signature(rename).load([], {"name": "a", "of_tomorrow": 1})
