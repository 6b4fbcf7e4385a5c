"""What is kept of a job is bounded, whoever wrote what it prints."""

from __future__ import annotations

import pytest

from services.bootserver.boot import own_script_files
from services.bootserver.boot.own_script_files import DIGESTS_KEPT, OwnScriptFiles
from services.bootserver.images.jobs import ENDED_PER_USER, ERROR_CHARS, LINE_CHARS, OUTPUT_LINES, Job, Jobs
from walt.contracts.errors import Failed


def test_output_of_a_job_is_bounded_in_lines_and_in_their_length():
    job = Job("alice")
    for line in ("short", *["x" * 10_000] * (OUTPUT_LINES + 5)):
        job.add_line(line)
    assert len(job.output) == OUTPUT_LINES
    assert job.output[0] == "short" and {len(line) for line in job.output[1:]} == {LINE_CHARS + 1}


@pytest.fixture
def jobs(monkeypatch):
    """They end before `start` returns."""
    monkeypatch.setattr("services.bootserver.images.jobs.tasks.spawn", lambda work, *arguments: work(*arguments))
    return Jobs()


def test_a_user_who_starts_jobs_in_a_loop_keeps_the_last_ones_only(jobs):
    others = jobs.start("bob", lambda say: None)
    ids = [jobs.start("alice", lambda say: None) for _ in range(3 * ENDED_PER_USER)]
    assert [job_id for job_id in ids if jobs.knows("alice", job_id)] == ids[-ENDED_PER_USER:]
    assert jobs.knows("bob", others)


def test_an_error_is_cut(jobs):
    def fail(say):
        raise Failed("x" * 10**6, *["y"] * 100)

    with pytest.raises(Failed) as failed:
        jobs.view("alice", jobs.start("alice", fail), 0)
    assert len(str(failed.value)) < 2 * ERROR_CHARS and str(failed.value).startswith("xxx")


def test_digests_of_files_do_not_pile_up(monkeypatch, tmp_path):
    monkeypatch.setattr(own_script_files.tasks, "in_os_thread", lambda work, file: file.name)
    files = OwnScriptFiles(None, None, None)
    for number in range(DIGESTS_KEPT + 5):
        path = tmp_path / str(number)
        path.touch()
        assert files._digest(path) == str(number)
    assert len(files._digests) == DIGESTS_KEPT
