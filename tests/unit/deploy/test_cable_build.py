"""The machine code of the cable is built once, and there whole or not at all; a stand-in for the compiler."""

from __future__ import annotations

import threading
import time

import pytest

from deploy import cable_build
from services.netemu.cable import engine


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "BUILD", tmp_path / "cable")
    monkeypatch.setattr(cable_build, "what_is_missing", lambda: "")
    monkeypatch.chdir(cable_build.ROOT)
    return engine.compiled_folder()


def names():
    return sorted(path.name for path in engine.BUILD.iterdir() if path.is_dir())


def test_two_at_once_build_one_after_the_other(folder, monkeypatch):
    def build(into):
        built.append(into)
        time.sleep(0.3)
        into.mkdir()

    built, statuses = [], []
    monkeypatch.setattr(cable_build, "build", build)
    others = [threading.Thread(target=lambda: statuses.append(cable_build.main())) for _ in range(2)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    assert (statuses, len(built), names()) == ([0, 0], 1, [folder.name])


def test_one_that_was_interrupted_is_begun_anew(folder, monkeypatch):
    def breaks_off(into):
        into.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(cable_build, "build", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        cable_build.main()
    assert not folder.exists()
    (engine.BUILD / "of-other-sources").mkdir()
    monkeypatch.setattr(cable_build, "build", lambda into: into.mkdir())
    assert (cable_build.main(), names()) == (0, [folder.name])


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--required"], 1)])
def test_without_a_compiler_there_is_none(folder, monkeypatch, options, status):
    monkeypatch.setattr(cable_build, "what_is_missing", lambda: "no C compiler (cc)")
    monkeypatch.setattr("sys.argv", ["cable_build", *options])
    assert cable_build.main() == status and not engine.BUILD.exists()
