"""Names of images in the Docker Engine."""

from __future__ import annotations

import pytest

from services.bootserver import names
from services.contracts.errors import InvalidRequest


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
