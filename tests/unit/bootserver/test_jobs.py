"""What is kept of a job is bounded, whoever wrote what it prints."""

from __future__ import annotations

import time

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
    files = OwnScriptFiles(None, None)
    for number in range(DIGESTS_KEPT + 5):
        path = tmp_path / str(number)
        path.touch()
        assert files._digest(path) == str(number)
    assert len(files._digests) == DIGESTS_KEPT


def test_a_user_who_follows_a_failed_job_in_a_loop_takes_no_memory(jobs):
    """An error that is raised again and again grows a traceback, with all that the calls were given."""

    def fail(say):
        raise Failed("no")

    job = jobs.start("alice", fail)
    for _ in range(100):
        with pytest.raises(Failed) as failed:
            jobs.view("alice", job, 0)
    assert len(failed.traceback) < 5


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("#!ipxe\n# root=/dev/nfs\nkernel x root=/dev/nfs rw\n", "root=/dev/nfs"),
        ("kernel x nfsroot=${server}:/fs,vers=3", "nfsroot=${server}:/fs,vers=3"),
        ("kernel x xnfsroot=a boot=nfs4 root=/dev/sda", ""),
        ("echo a\n  #netroot=nfs\nkernel x netroot=nfs:1.2.3.4:/fs", "netroot=nfs:1.2.3.4:/fs"),
    ],
)
def test_script_that_wants_a_file_server(script, found):
    assert own_script_files.nfs_root(script) == found


def test_a_script_of_any_text_is_searched_at_once():
    """64 KiB of line ends took 10 s of the service's only thread."""
    begin = time.process_time()
    for text in ("\n", " ", "#\n", "root=/dev/nf ", "\x85"):
        assert not own_script_files.nfs_root(text * (own_script_files.SCRIPT_BYTES // len(text)))
    assert time.process_time() - begin < 2
