"""What a Dockerfile has the engine fetch is found, or the Dockerfile is refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from services.bootserver.docker_images import docker_sources, dockerfile
from services.bootserver.docker_images.dockerfile import fetched_images
from services.bootserver.workers import pack_context
from walt.contracts.errors import Denied, InvalidRequest


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM debian:12", ["debian:12"]),
        ("# syntax=docker/dockerfile:1\n\nfrom debian\nRUN true\n", ["debian"]),
        ("\tFrom  --platform=linux/amd64\tdebian  AS  base \r\nFROM base\nCOPY --from=base /a /b\n", ["debian"]),
        ("FROM a AS one\nFROM b as ONE2\nCOPY --from=One2 x y\nCOPY --from=0 x y\nADD --from=c x y\n", ["a", "b", "c"]),
        ("FROM scratch\nCOPY --chown=root:root x y", []),
        ("FR\\\nOM \\\n# FROM no\n\n  evil\n", ["evil"]),
        ("FROM \\  \n evil", ["evil"]),
        ("FROM a\nRUN echo \\\nFROM b\nFROM c", ["a", "c"]),
        ("FROM a\nONBUILD ONBUILD COPY --from=b x y", ["a", "b"]),
        ("FROM one\nFROM two AS one\n", ["one", "two"]),
        ("FROM 0", ["0"]),
        ("FROM registry.example:5000/lab/x@sha256:00", ["registry.example:5000/lab/x@sha256:00"]),
        ("RUN echo FROM x\nCMD cat <x", []),
        ("", []),
    ],
)
def test_images(text, images):
    assert fetched_images(text) == images


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("FROM", "FROM : allowed: the name of an image or a stage, written out"),
        ("ARG X=evil\nFROM $X", "FROM \\$X: allowed"),
        ("FROM ${X:-evil}", "FROM"),
        ('FROM "evil"', 'FROM "evil"'),
        ("FROM ev\\il", "FROM"),
        ("FROM a\nCOPY --from=$X a b", "COPY --from"),
        ('FROM a\nCOPY --fr"om"=evil a b', "COPY --fr"),
        ("FROM a\nCOPY --fr\\om=evil a b", "COPY --fr"),
        ("FROM a\nCOPY --from= a b", "COPY --from : allowed"),
        ("FROM a\nCOPY --from a b", "COPY --from : allowed"),
        ("FROM a\nCOPY a --mount=b c", "COPY --mount"),
        ("#  Escape = `\nFROM a", "allowed: .+, which it is without this line"),
        ('RUN <<"A\\"\nA\\\nFROM evil', "RUN with <<"),
        ("FROM a\nRUN cat <<EOF\nEOF", "RUN with <<"),
    ],
)
def test_what_is_not_written_out_is_refused(text, fault):
    with pytest.raises(InvalidRequest, match=f"Dockerfile: .*{fault}"):
        fetched_images(text)


@pytest.mark.parametrize(
    "content", [b"FROM\x0bevil", b"FROM\x00a", "FROM\u00a0evil".encode(), "a\u2028b".encode(), b"\xff"]
)
def test_what_is_no_plain_text_is_refused(content):
    with pytest.raises(InvalidRequest, match="the Dockerfile (has the character|is not UTF-8)"):
        dockerfile.text_of(content)


def test_text():
    assert dockerfile.text_of("\ufeffFROM ä\r\n\t".encode()) == "FROM ä\r\n\t"
    with pytest.raises(InvalidRequest, match=f"bytes; allowed: {dockerfile.MAX_BYTES}"):
        dockerfile.text_of(b" " * (dockerfile.MAX_BYTES + 1))


@pytest.mark.parametrize(
    "words",
    [
        "http://169.254.169.254/x /y",
        '["http://x/", "/y"]',
        "$X /y",
        "ht\\tp://x /y",
        'ht"tp"://x /y',
        "git@x:y /z",
        "--chown=$X a b",
    ],
)
def test_fault_s19_nothing_is_added_from_outside(words):
    with pytest.raises(InvalidRequest, match="Dockerfile: ADD"):
        dockerfile.check_adds_nothing_from_outside(f"FROM a\nONBUILD add {words}")


def test_files_are_added():
    dockerfile.check_adds_nothing_from_outside("FROM a\nADD --chown=1:1 a/b*.tar ./c-1 /d/\nCOPY $X http://x /y")


def context(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, content, options in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for option, value in options.items():
                setattr(member, option, value)
            tar.addfile(member, io.BytesIO(content))
    return path


LIBRARY = docker_sources.parse("build,library")


def test_the_context_is_made_anew_with_the_dockerfile_that_was_checked(tmp_path):
    sent = context(
        tmp_path / "sent",
        ("Dockerfile", b"FROM evil/x\n", {}),
        ("file", b"text", {"mode": 0o750}),
        ("./Dockerfile", b"FROM debian\n", {}),
    )
    pack_context.pack(sent, tmp_path / "tar", LIBRARY)
    with tarfile.open(tmp_path / "tar") as tar:
        assert sorted(tar.getnames()) == [".", "./Dockerfile", "./file"]
        found = tar.extractfile("./Dockerfile")
        assert found is not None and found.read() == b"FROM debian\n"
        assert tar.getmember("./file").mode == 0o750
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sent", "tar"]


@pytest.mark.parametrize(
    "members",
    [
        [],
        [("dockerfile", b"FROM debian", {})],
        [("x", b"FROM debian", {}), ("Dockerfile", b"", {"type": tarfile.SYMTYPE, "linkname": "x"})],
        [("Dockerfile/x", b"FROM debian", {})],
    ],
)
def test_a_context_without_a_dockerfile_is_refused(tmp_path, members):
    with pytest.raises(InvalidRequest, match="there is no file 'Dockerfile' at the top"):
        pack_context.pack(context(tmp_path / "sent", *members), tmp_path / "tar", LIBRARY)
    assert not (tmp_path / "tar").exists()


@pytest.mark.parametrize("text", ["FROM evil/x", "FROM debian\nCOPY --from=evil/x a b", "FROM 0123abcd"])
def test_fault_s19_a_dockerfile_takes_no_image_that_may_not_be_imported(tmp_path, text):
    sent = context(tmp_path / "sent", ("Dockerfile", text.encode(), {}))
    with pytest.raises(Denied, match=r"image '\S+' of the Docker Engine is not taken here; allowed: .*library"):
        pack_context.pack(sent, tmp_path / "tar", LIBRARY)
    pack_context.check(text, docker_sources.parse("build,any"))
