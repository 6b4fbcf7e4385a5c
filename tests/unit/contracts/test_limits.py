"""The grammar of limits: as an operator gives them for all users, and an administrator for one."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from walt.contracts.errors import InvalidRequest
from walt.contracts.limits import RESOURCES, UNLIMITED, UserLimits, format_value, parse_change, parse_limits

ROOT = Path(__file__).parents[3]


def test_limits_of_all_users():
    assert parse_limits("") == UserLimits()
    assert parse_limits("nodes=3,ram=2G") == replace(UserLimits(), nodes=3, ram_bytes=2 * 2**30)
    assert parse_limits("images=none,image.space=1T") == replace(UserLimits(), images=None, image_bytes=10**12)


def test_change_of_one_user():
    change = parse_change(["disk=50G", "images=0", "ram=none", "nodes=default"])
    assert change.values == {"disk_bytes": 50 * 10**9, "images": 0, "ram_bytes": None}
    assert change.of({"nodes": 3, "ram_bytes": 5, "image_bytes": 7}) == {
        "ram_bytes": None, "image_bytes": 7, "disk_bytes": 50 * 10**9, "images": 0
    }  # fmt: skip


def test_every_fault_is_named():
    with pytest.raises(InvalidRequest) as refused:
        parse_change(["disks=1G", "ram", "ram=2X", "nodes=-1", "images=1", "images=2", "disk="])
    assert refused.value.args == (
        "'disks' is not a limit (did you mean disk?); allowed: nodes, ram, disk, images, image.space",
        "'ram' is not a limit; allowed: NAME=VALUE, for instance ram=32G",
        "'2X' is not a value for ram; allowed: a whole number with M or G (512M, 2G), none or default",
        "'-1' is not a value for nodes; allowed: a whole number, none or default",
        "'' is not a value for disk; allowed: a whole number above 0 with M, G or T (256M, 32G, 1T), none or default",
        "ram is given twice; allowed: once",
        "images is given twice; allowed: once",
    )
    with pytest.raises(InvalidRequest, match="no limit is given"):
        parse_change([])


def test_each_field_has_a_name_and_its_text_parses_back():
    assert {one.field for one in RESOURCES.values()} == set(asdict(UNLIMITED))
    for one in RESOURCES.values():
        value = getattr(UserLimits(), one.field)
        assert one.parse(format_value(one, value)) == value
        assert format_value(one, None) == "none"


def test_what_is_said_of_the_defaults_is_true():
    (line,) = re.findall(r"^#WALT_USER_LIMITS=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert parse_limits(line) == UserLimits()
    said = {**dict(re.findall(r"^\| `([a-z.]+)` \| (\w+) \|", (ROOT / "docs/limits.md").read_text(), re.MULTILINE))}
    assert said == {name: format_value(one, getattr(UserLimits(), one.field)) for name, one in RESOURCES.items()}
    topic = re.findall(r"^    ([a-z.]+)=\S+ .*\((\w+)\)$", (ROOT / "cli/topics/users.txt").read_text(), re.MULTILINE)
    assert dict(topic) == said
