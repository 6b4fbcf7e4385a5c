"""Values over the wire and back; what does not fit is refused with the field's name."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from nameko.exceptions import deserialize, serialize

from walt.contracts import errors, serialization
from walt.contracts.errors import InvalidRequest, WaltError
from walt.contracts.links import Direction, LinkModel
from walt.contracts.nodes import Changed, Interface, Network, NodeView, NodeWanted


@dataclass(frozen=True)
class Sample:
    count: int
    ratio: float
    names: tuple[str, ...]
    limit: int | None
    words: dict[str, int] = field(default_factory=dict)
    is_new: bool = False


SAMPLE: dict[str, Any] = {
    "count": 1,
    "ratio": 0.5,
    "names": ["a", "b"],
    "limit": None,
    "words": {"x": 2},
    "is_new": True,
}


def test_a_value_comes_back_as_it_was() -> None:
    network = Network(7, "home-net", "alice")
    interface = Interface(3, "52:00:00:00:00:01", network, LinkModel(up=Direction(latency_us=10_000)))
    wanted = NodeWanted(
        id=1, name="vnode1", host="lab1", owner="", power="on", boot=2, version=3, image="default", ip="10.0.0.2",
        cpu_cores=1, ram_bytes=2**26, boot_delay_s=None, boot_timeout_s=180, boot_retries=9, interfaces=(interface,),
    )  # fmt: skip
    assert serialization.load(NodeWanted, json.loads(json.dumps(serialization.dump(wanted)))) == wanted


def test_lists_inside_frozen_values_are_tuples() -> None:
    view = NodeView("a", "", "booted", 1.0, "", "vnode", "10.0.0.2", "m", "default", "lab1", {"ram": "1G"})
    assert serialization.load(Changed, serialization.dump(Changed((view,), ("said",)))) == Changed((view,), ("said",))
    assert serialization.load(Sample, SAMPLE) == Sample(1, 0.5, ("a", "b"), None, {"x": 2}, True)


def test_defaults_and_unknown_fields() -> None:
    """A newer sender and an older receiver understand each other."""
    data = {name: SAMPLE[name] for name in ("count", "ratio", "names", "limit")}
    assert serialization.load(Sample, {**data, "of tomorrow": 1}) == Sample(1, 0.5, ("a", "b"), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("count", 1.9), ("count", "1.5"), ("count", None), ("ratio", "much"), ("names", "ab"), ("names", [1])),
        *(("limit", []), ("words", {"x": "y"}), ("is_new", "perhaps")),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=f"^Sample: .*'{name}'"):
        serialization.load(Sample, {**SAMPLE, name: value})


@pytest.mark.parametrize("name", ["count", "ratio", "names", "limit"])
def test_what_has_no_default_must_be_there(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^Sample: .*'{name}'.*Missing"):
        serialization.load(Sample, {key: value for key, value in SAMPLE.items() if key != name})


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_what_is_no_sample_at_all(data: object) -> None:
    with pytest.raises(InvalidRequest, match="^Sample: "):
        serialization.load(Sample, data)


EVERY_ERROR = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, WaltError)]


@pytest.mark.parametrize("cls", [one for one in EVERY_ERROR if one is not WaltError])
def test_an_error_comes_back_as_itself(cls: type[WaltError]) -> None:
    """For services through nameko, for the CLI through `from_wire`."""
    import services.kit.bus.entrypoints  # noqa: F401  (registers the errors)

    sent = json.loads(json.dumps(serialize(cls("one fault", "another"))))
    for back in (deserialize(sent), errors.from_wire(sent["exc_type"], sent["exc_args"])):
        assert type(back) is cls
        assert str(back) == "one fault\nanother"


def test_an_unknown_error_keeps_its_text() -> None:
    back = errors.from_wire("KeyError", ["'ram'"])
    assert type(back) is errors.Failed
    assert "KeyError: 'ram'" in str(back)


def test_exit_codes() -> None:
    codes = {cls.__name__: cls.exit_code for cls in EVERY_ERROR}
    assert codes == {
        "WaltError": 1,
        "Failed": 1,
        "Refused": 2,
        "InvalidRequest": 2,
        "UnknownArgument": 2,
        "NotFound": 3,
        "NotOwner": 4,
        "Conflict": 4,
        "NeedsForce": 4,
        "LimitReached": 4,
        "OwnerNeedsForce": 4,
        "Denied": 5,
        "Unreachable": 6,
    }
