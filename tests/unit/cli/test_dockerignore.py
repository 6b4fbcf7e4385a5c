"""`.dockerignore`: nothing that it excludes is sent."""

import io
import tarfile

import pytest

from cli.transfer import pack
from walt.contracts.errors import InvalidRequest

PATHS = ("Dockerfile", "src/keep.c", "src/a.o", ".git/config", "docs/deep/one.md", "docs/deep/two", "b.o", "x/y/z/two")


@pytest.fixture
def folder(tmp_path):
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "link").symlink_to("src")
    return tmp_path


def sent(folder, text):
    (folder / ".dockerignore").write_text(text)
    stream = io.BytesIO()
    pack.pack_build(str(folder), stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        return tar.getnames()


def test_what_is_left_out_is_not_sent(folder):
    names = sent(folder, "\ufeff# b\n.git\n**/*.o\n\n  docs\n!docs/deep/one.md\nx/**\n")
    assert names == [".dockerignore", "Dockerfile", "docs/deep/one.md", "link", "src", "src/keep.c", "x"]


def test_an_exception_is_found_in_a_folder_that_is_left_out(folder):
    assert sent(folder, "*\n!**/*.md\n") == [".dockerignore", "Dockerfile", "docs/deep/one.md"]


def test_the_engine_gets_what_it_reads_itself(folder):
    assert sent(folder, "**\nDockerfile\n.dockerignore\n") == [".dockerignore", "Dockerfile"]


def test_without_a_file_all_is_sent(folder):
    stream = io.BytesIO()
    pack.pack_build(str(folder), stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        assert set(PATHS) < set(tar.getnames())


def test_what_is_no_pattern_is_named(folder):
    with pytest.raises(InvalidRequest, match=r"\.dockerignore: '\[z-a\]' is not a pattern"):
        sent(folder, "ok\n[z-a]\n")
