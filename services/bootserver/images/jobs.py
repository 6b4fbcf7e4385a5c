"""Long jobs of users: started by one call and followed by others, so that no call waits long for its answer.

They live in this process only. A job that is cut off by its end has changed nothing, and its user gets that as an
error.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from services.kit import tasks
from walt.contracts.bootserver import ImageChanged, JobView
from walt.contracts.errors import Conflict, Failed, NotFound, WaltError

KEEP_S = 600.0
JOBS_PER_USER = 4
ENDED_PER_USER = 20  # that are kept for a while, so that their user hears of their end
ERROR_CHARS = 4000
# Progress only; most of it is the output of a Dockerfile, which its user may make as long as he likes.
OUTPUT_LINES = 1000
LINE_CHARS = 500

Progress = Callable[[str], None]  # takes one line for the user
Work = Callable[[Progress], ImageChanged | None]


@dataclass
class Job:
    user: str
    output: list[str] = field(default_factory=list)
    changed: ImageChanged | None = None
    error: WaltError | None = None
    ended_at: float = 0.0

    def add_line(self, line: str) -> None:
        if len(self.output) < OUTPUT_LINES:
            self.output.append(line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}…")


class Jobs:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def start(self, user: str, work: Work, job_id: str = "") -> str:
        """Its id: the given one, or a new one."""
        self._forget_old(user)
        running = [job for job in self._jobs.values() if job.user == user and not job.ended_at]
        if len(running) >= JOBS_PER_USER:
            raise Conflict(f"{len(running)} jobs of yours are under way; allowed: {JOBS_PER_USER} at a time")
        job = Job(user)
        job_id = job_id or uuid.uuid4().hex
        self._jobs[job_id] = job
        tasks.spawn(_carry_out, job, work)
        return job_id

    def knows(self, user: str, job_id: str) -> bool:
        return job_id in self._jobs and self._jobs[job_id].user == user

    def view(self, user: str, job_id: str, seen: int) -> JobView:
        """Raises the error of a job that failed."""
        job = self._jobs.get(job_id)
        if job is None or job.user != user:
            raise NotFound(
                "this job is not known any more: bootserver was restarted. If it had not ended before, it has changed "
                "nothing; see: walt image show"
            )
        if job.error is not None:
            raise job.error.with_traceback(None)  # else each call adds its own to it
        return JobView(job.ended_at > 0, tuple(job.output[seen:]), job.changed)

    def _forget_old(self, user: str) -> None:
        limit = time.monotonic() - KEEP_S
        self._jobs = {job_id: job for job_id, job in self._jobs.items() if not 0 < job.ended_at < limit}
        ended = [job_id for job_id, job in self._jobs.items() if job.user == user and job.ended_at]
        for job_id in ended[: 1 - ENDED_PER_USER]:
            del self._jobs[job_id]


def _carry_out(job: Job, work: Work) -> None:
    try:
        job.changed = work(job.add_line)
    except WaltError as error:
        job.error = _shortened(error)
    except Exception as error:
        job.error = _shortened(Failed(f"internal error in bootserver ({type(error).__name__}: {error})"))
        raise
    finally:
        job.ended_at = time.monotonic()


def _shortened(error: WaltError) -> WaltError:
    """Of a user's Dockerfile or archive, say, which may make it as long as it likes."""
    sentences = [one if len(one) <= ERROR_CHARS else f"{one[:ERROR_CHARS]}…" for one in map(str, error.args)]
    return type(error)(*sentences[:20])
