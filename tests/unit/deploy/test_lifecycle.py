"""One launcher at a time works on an instance, also while one of them forgets it."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from deploy.local import instance as paths
from deploy.local import lifecycle
from deploy.local.instance import Instance

LIMIT_S = 10


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    for name in ("STATE_ROOT", "RUN_ROOT", "IMAGES", "NETNS_ROOT"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "_take_down", lambda instance: None)
    return Instance("lab")


def is_locked(instance: Instance) -> bool:
    """Whether a launcher that starts now has to wait."""
    with lifecycle._lock_file(instance).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_clean_is_alone_to_its_end(lab: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.state.mkdir(parents=True)
    seen = []
    monkeypatch.setattr("shutil.rmtree", lambda path: seen.append((path, is_locked(lab))))
    lifecycle.clean(lab, lambda line: None)
    assert seen == [(lab.state, True)]
    assert not lifecycle._lock_file(lab).exists()


def test_who_waited_for_a_clean_keeps_out_who_comes_later(lab: Instance) -> None:
    is_in, may_go = threading.Event(), threading.Event()

    def wait_and_work() -> None:
        with lifecycle.alone(lab):
            is_in.set()
            may_go.wait(LIMIT_S)

    waiter = threading.Thread(target=wait_and_work)
    with lifecycle.alone(lab):
        waiter.start()
        assert not is_in.wait(0.2)
        lifecycle._lock_file(lab).unlink()
    assert is_in.wait(LIMIT_S)
    assert is_locked(lab)
    may_go.set()
    waiter.join()
