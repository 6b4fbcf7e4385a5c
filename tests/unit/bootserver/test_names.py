"""Names of images, here and in the Docker Engine."""

from __future__ import annotations

import pytest

from services.bootserver import names
from services.contracts.errors import Denied, InvalidRequest


@pytest.mark.parametrize(
    "reference",
    ["debian", "debian:bookworm-slim", "user/image", "registry.lab:5000/group/image:1.0", f"a/b@sha256:{'0' * 64}"],
)
def test_reference_of_the_engine(reference):
    names.check_reference(reference)


@pytest.mark.parametrize("reference", ["", "-x", "no//image^", "Debian", "a b", "a:", "x" * 256])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(InvalidRequest, match="IMAGE"):
        names.check_reference(reference)


@pytest.mark.parametrize("text", ["debian", "a" * 63, "a.b_c-9", "alice/debian", "Bob_9/x"])
def test_name_is_written_as_it_was_read(text):
    assert str(names.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "/", "/a", "a/", "..", "../a", "a/../b", "a/b/c", "alice/..", "../../a", "9a", "A", "a" * 64, "a b", "a\n"],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InvalidRequest, match="is not the name of an image"):
        names.parse(text)


def test_plain_name_is_ones_own_image_then_the_platforms():
    assert [str(one) for one in names.meant("web", "alice")] == ["alice/web", "web"]
    assert [str(one) for one in names.meant("web", "")] == ["web"]
    assert [str(one) for one in names.meant("alice/web", "alice")] == ["alice/web"]
    assert str(names.new("web", "alice")) == str(names.new("alice/web", "alice")) == "alice/web"
    assert str(names.own("default", "alice")) == "alice/default"
    with pytest.raises(InvalidRequest, match="default is the platform's image"):
        names.new("default", "alice")


@pytest.mark.parametrize("asked", [names.meant, names.new, names.own])
def test_image_of_another_is_denied(asked):
    with pytest.raises(Denied, match="image 'bob/web' would be bob's"):
        asked("bob/web", "alice")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("debian", "debian"),
        ("registry.lab:5000/group/Debian:bookworm", "debian-bookworm"),
        ("debian:latest", "debian"),
        (f"a/b@sha256:{'0' * 64}", "b"),
    ],
)
def test_name_of_what_comes_from_the_engine(reference, name):
    assert names.from_reference(reference) == name
