"""Long pieces of work of users: begun by one call, followed by others, so that none waits long for its answer.

They live in this process only. One that ends with it has made nothing, and its user is told so.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import eventlet

from services.contracts.bootserver import ImageChanged, JobView
from services.contracts.errors import Conflict, Failed, NotFound, WaltError

KEPT_S = 600.0
JOBS_PER_USER = 4
SAID_LIMIT = 1000  # of a Dockerfile, whoever wrote it: it is shown as progress only

Say = Callable[[str], None]
Work = Callable[[Say], ImageChanged | None]


@dataclass
class Job:
    user: str
    said: list[str] = field(default_factory=list)
    changed: ImageChanged | None = None
    error: WaltError | None = None
    ended_at: float = 0.0

    def say(self, sentence: str) -> None:
        if len(self.said) < SAID_LIMIT:
            self.said.append(sentence)


class Jobs:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def start(self, user: str, work: Work, name: str = "") -> str:
        self._forget_old()
        running = [job for job in self._jobs.values() if job.user == user and not job.ended_at]
        if len(running) >= JOBS_PER_USER:
            raise Conflict(f"{len(running)} pieces of work of yours are under way; allowed: {JOBS_PER_USER} at a time")
        job = Job(user)
        name = name or uuid.uuid4().hex
        self._jobs[name] = job
        eventlet.spawn(_carry_out, job, work)
        return name

    def knows(self, user: str, name: str) -> bool:
        return name in self._jobs and self._jobs[name].user == user

    def view(self, user: str, name: str, seen: int) -> JobView:
        """Raises the error of a job that failed."""
        job = self._jobs.get(name)
        if job is None or job.user != user:
            raise NotFound(
                "this piece of work is not known any more: bootserver was restarted. If it had not ended before, it has made "
                "nothing; see: walt image show"
            )
        if job.error is not None:
            raise job.error
        return JobView(job.ended_at > 0, tuple(job.said[seen:]), job.changed)

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT_S
        self._jobs = {name: job for name, job in self._jobs.items() if not 0 < job.ended_at < limit}


def _carry_out(job: Job, work: Work) -> None:
    try:
        job.changed = work(job.say)
    except WaltError as error:
        job.error = error
    except Exception as error:
        job.error = Failed(f"internal error in bootserver ({type(error).__name__}: {error})")
        raise
    finally:
        job.ended_at = time.monotonic()
