"""What is kept of a job is bounded, whoever wrote what it prints."""

from __future__ import annotations

from services.bootserver.images.jobs import LINE_CHARS, OUTPUT_LINES, Job
from services.bootserver.workers import docker_engine


def test_output_of_a_job_is_bounded_in_lines_and_in_their_length():
    job = Job("alice")
    for line in ("short", *["x" * 10_000] * (OUTPUT_LINES + 5)):
        job.add_line(line)
    assert len(job.output) == OUTPUT_LINES
    assert job.output[0] == "short" and {len(line) for line in job.output[1:]} == {LINE_CHARS + 1}


def test_line_of_a_dockerfile_is_cut_before_the_service_reads_it(capsys):
    docker_engine.progress("Step 1/1 : RUN " + "x" * 10_000)
    assert len(capsys.readouterr().out) == docker_engine.LINE_CHARS + 1
