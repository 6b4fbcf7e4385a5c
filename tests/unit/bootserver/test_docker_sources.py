"""What users may take from the Docker Engine of the server."""

from __future__ import annotations

import pytest

from services.bootserver.docker_images.docker_sources import full_name, parse
from walt.contracts.errors import Denied


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("debian", "library/debian"),
        ("debian:12", "library/debian"),
        ("debian@sha256:00", "library/debian"),
        ("group/tool:1", "group/tool"),
        ("registry.example:5000/lab/x:1@sha256:00", "registry.example:5000/lab/x"),
    ],
)
def test_name(reference, name):
    assert full_name(reference) == name


@pytest.mark.parametrize(
    ("sources", "taken", "refused"),
    [
        ("none", [], ["debian", "registry.example/lab/x"]),
        ("build", [], ["debian"]),
        ("any", ["debian", "registry.example/lab/x"], []),
        ("library", ["debian:12"], ["group/debian", "library2/x", "registry.example/library/x"]),
        ("library", ["cafe:latest"], ["cafe", "a", "0123456789ab", "sha256:0123", f"sha256:{'0a' * 32}"]),
        (
            "registry.example/lab, group",
            ["registry.example/lab/x:1", "group/x"],
            ["registry.example/labour/x", "registry.example/x", "registry.example:5000/lab/x", "debian"],
        ),
    ],
)
def test_fault_s19_only_what_the_operator_allows_is_imported(sources, taken, refused):
    found = parse(sources)
    for reference in taken:
        found.check_reference(reference)
    for reference in refused:
        with pytest.raises(Denied, match=f"image '{reference}' .*allowed: .*WALT_IMAGE_SOURCES"):
            found.check_reference(reference)


def test_fault_s19_nothing_is_built_unless_the_operator_allows_it():
    parse("any,build").check_build()
    assert (parse("build").builds_online, parse("build-online").builds_online) == (False, True)
    parse("build-online").check_build()
    with pytest.raises(Denied, match="not built by Dockerfiles here"):
        parse("any").check_build()


@pytest.mark.parametrize("text", ["", "none,any", "a,,b", "Upper", "https://x/y", "a/", "x y"])
def test_what_is_no_list_of_sources(text):
    with pytest.raises(ValueError, match="a list of"):
        parse(text)
