"""`walt image cp`: files into an image and out of it."""

from __future__ import annotations

import os

import pytest

from tests.service.images.world import configuration, tree_of
from walt.client import Client
from walt.contracts.errors import InvalidRequest


def test_files_in_and_out(walt, platform, tmp_path):
    walt("image clone default mine")
    folder = tmp_path / "local/folder"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(os.urandom(3_000_001))
    os.link(folder / "big", folder / "twin")
    (folder / "link").symlink_to("/etc/motd")
    (tmp_path / "motd").write_text("changed\n")
    (tmp_path / "motd").chmod(0o600)
    assert walt(f"image cp {folder} mine:/etc")[0] == 0
    assert walt(f"image cp {tmp_path}/motd mine:/etc/motd")[0] == 0
    tree = tree_of(platform, "mine")
    assert (platform / "images/tiny-1/etc/motd").read_text() == "welcome\n"
    assert (tree / "etc/motd").read_text() == "changed\n" and (tree / "etc/motd").stat().st_mode & 0o777 == 0o600
    assert (tree / "etc/folder/big").samefile(tree / "etc/folder/twin")
    assert walt(f"image cp alice/mine:/etc/folder {tmp_path}/back")[0] == 0
    assert (tmp_path / "back/big").read_bytes() == (folder / "big").read_bytes()
    assert os.readlink(tmp_path / "back/link") == "/etc/motd"
    assert walt(f"image cp default:/etc/motd {tmp_path}/motd")[0] == 0
    assert (tmp_path / "motd").read_text() == "welcome\n"


def test_copies_that_cannot_be(walt, platform, tmp_path):
    walt("image clone default mine")
    (tmp_path / "file").write_text("x")
    (tmp_path / "etc").mkdir()
    before = tree_of(platform, "mine")
    for line, status, why in (
        (f"{tmp_path}/file mine:/none/file", 3, "no directory '/none' in the image"),
        (f"{tmp_path}/file mine:/none/", 3, "'/none/' is not there"),
        (f"{tmp_path}/etc mine:/etc/motd/", 3, "is not a directory"),
        (f"{tmp_path}/etc/ mine:/etc/motd", 2, "'/etc/motd' is not a directory in the image"),
        (f"{tmp_path}/none mine:/etc", 3, "there is no file"),
        (f"{tmp_path}/file mine:/{'x' * 5000}", 2, "is not a path; allowed: less than 4096 bytes"),
        (f"mine:/{'x' * 5000} {tmp_path}", 2, "is not a path; allowed: less than 4096 bytes"),
        (f"mine:/none {tmp_path}", 3, "there is no file '/none' in the image"),
        (f"{tmp_path}/file {tmp_path}/other", 2, "has to be IMAGE:PATH"),
    ):
        got, _, err = walt(f"image cp {line}")
        assert (got, why in err) == (status, True), (line, got, err)
    assert tree_of(platform, "mine") == before


@pytest.mark.parametrize("path", ["/etc/a\0b", "/etc/\udc00\ud800"])
def test_what_cannot_be_a_path_is_refused(walt, user_uri, path):
    client = Client(lambda: configuration(user_uri("alice")))
    with pytest.raises(InvalidRequest, match="is not a path|is not a string in UTF-8"):
        client.call("bootserver", "open_download", image="default", path=path)
    client.close()
