"""`.dockerignore`: what it leaves out, by Docker's rules."""

import io
import tarfile

import pytest
from docker.utils.build import PatternMatcher

from cli import archive, dockerignore
from services.contracts.errors import InvalidRequest

PATHS = ("a.o", "src/a.o", "src/deep/a.o", "src/keep.o", ".git", ".git/x", "README.md", "docs/README.md", "b", "ab", "a/b/c/d",
         "[x]", "temp?", "tempA", "a**b")  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["*.o", "**/*.o", "src", "src/", "/src", "./src/../src", "src\n!src/keep.o", "!src/keep.o\nsrc", "*\n!docs", "*\n!docs/*",
     "**", "*/*", "**/README.md", "a/**/d", "a/**", "a**d", "temp?", "temp[A-C]", ".", "..", ".*", "# b", " b ", "",
     "*\n!*.md\nREADME.md"],
)  # fmt: skip
def test_as_the_docker_sdk_has_it(text):
    rules, matcher = dockerignore.parse(text), PatternMatcher([one for one in text.split("\n") if one[:1] != "#"])
    assert [path for path in PATHS if dockerignore.is_left_out(path, rules)] == list(filter(matcher.matches, PATHS))


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("temp[^A]", ["temp?"]),
        (r"a\*\*b", ["a**b"]),
        ("[[]x]", ["[x]"]),  # of which the SDK's has Python warn
        ("**/c", ["a/b/c/d"]),  # what lies in a folder that is left out
        ("Dockerfile\n.dockerignore", []),  # the engine needs them to know what to leave out
    ],
)
def test_as_docker_has_it_and_the_sdk_has_not(text, left_out):
    paths = (*PATHS, "Dockerfile", ".dockerignore")
    assert [path for path in paths if dockerignore.is_left_out(path, dockerignore.parse(text))] == left_out


def test_what_is_no_pattern_is_named():
    with pytest.raises(InvalidRequest, match=r"\.dockerignore: '\[z-a\]' is not a pattern"):
        dockerignore.parse("ok\n[z-a]")


def test_what_is_left_out_is_not_sent(tmp_path):
    for path in ("Dockerfile", "src/keep.c", "src/a.o", ".git/config", "docs/deep/one.md", "docs/deep/two"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "link").symlink_to("src")
    (tmp_path / ".dockerignore").write_text(".git\n**/*.o\ndocs\n!docs/deep/one.md\n")
    sent = io.BytesIO()
    archive.pack_build(str(tmp_path), sent)
    sent.seek(0)
    with tarfile.open(fileobj=sent) as tar:
        assert tar.getnames() == [".dockerignore", "Dockerfile", "docs/deep/one.md", "link", "src", "src/keep.c"]
