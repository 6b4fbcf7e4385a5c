"""Concurrency of a service process: green threads, and what may wait in them. The only user of eventlet beside
`kit.bus` and `kit.web`.

A service process runs all its code in one operating-system thread; a green thread gives way to the others where it
waits (network, sleep, locks, `threading` and `socket` after `monkey_patch`). Work of the processor, and libraries in C
that wait, do not give way: they belong in a process of their own, or in `in_os_thread`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import eventlet
import eventlet.event
import eventlet.tpool
from eventlet import hubs
from eventlet.green import os as green_os
from eventlet.green import subprocess as subprocess  # for children whose pipes are read in green threads
from prometheus_client import Counter, Gauge

T = TypeVar("T")
R = TypeVar("R")

AFTER_FAULT_S = 5.0

TASKS = Gauge("walt_tasks", "Green threads under way that the service has begun by itself")
FAULTS = Counter("walt_loop_failures_total", "Faults of a background loop, which went on after it", ["loop"])

log = logging.getLogger(__name__)


class Task:
    """One green thread, begun by `spawn`."""

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def wait(self) -> Any:
        """Its result, or its exception."""
        return self._thread.wait()

    def kill(self) -> None:
        """End it where it waits. Its `finally` blocks run; it returns nothing."""
        self._thread.kill()

    @property
    def is_over(self) -> bool:
        return bool(self._thread.dead)


def spawn(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
    """Begin it in a green thread, which runs once its caller waits."""
    thread = eventlet.spawn(function, *args, **kwargs)
    TASKS.inc()
    thread.link(lambda _: TASKS.dec())
    return Task(thread)


def spawn_loop(name: str, turn: Callable[[], Any], *, every_s: float = 0.0) -> Task:
    """Call `turn` for ever, `every_s` apart. A fault is logged, counted in walt_loop_failures_total, and followed by
    the next turn."""
    return spawn(run_loop, name, turn, every_s=every_s)


def run_loop(name: str, turn: Callable[[], Any], *, every_s: float = 0.0) -> None:
    """As `spawn_loop`, in this green thread."""
    faults = FAULTS.labels(name)  # so that there is a 0 before the first
    while True:
        pause_s = every_s
        try:
            turn()
        except Exception:
            faults.inc()
            log.exception("%s failed; it goes on in %g s", name, max(every_s, AFTER_FAULT_S))
            pause_s = max(every_s, AFTER_FAULT_S)
        sleep(pause_s)


def map_concurrently(function: Callable[[T], R], items: Iterable[T], limit: int = 1000) -> list[R]:
    """[function(item), …] in the order of the items, at most `limit` at a time; the first exception is raised."""
    return list(eventlet.GreenPool(limit).imap(function, items))


def in_os_thread(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Its result, while the other green threads go on. It may use no lock or event that green threads use too."""
    result: R = eventlet.tpool.execute(function, *args, **kwargs)
    return result


def sleep(seconds: float = 0) -> None:
    eventlet.sleep(seconds)


class Signal:
    """Waits of green threads for something that happens once, or again after `clear`."""

    def __init__(self) -> None:
        self._value: Any = None
        self._event = eventlet.event.Event()

    def set(self, value: Any = True) -> None:
        """Wake all who wait. Does nothing the second time."""
        if not self._event.ready():
            self._event.send(value)

    def clear(self) -> None:
        if self._event.ready():
            self._event = eventlet.event.Event()

    def is_set(self) -> bool:
        return bool(self._event.ready())

    def wait(self, timeout_s: float | None = None) -> Any:
        """The value that was set; None after `timeout_s`."""
        with eventlet.Timeout(timeout_s, False):
            return self._event.wait()
        return None


class Timeout(eventlet.Timeout):
    """`with Timeout(5, Failed("…")):` raises that error after 5 s; `Timeout(5, False)` leaves the block silently."""


def read(fd: int, size: int) -> bytes:
    """What a non-blocking file descriptor has; b"" at its end. Other green threads go on while there is nothing."""
    return bytes(green_os.read(fd, size) or b"")


def write(fd: int, data: bytes) -> int:
    """How much of it a non-blocking file descriptor has taken, once it takes some."""
    return int(green_os.write(fd, data))


def close(fd: int) -> None:
    """Wakes the green thread that waits for it (with an OSError): the number may soon be another file's."""
    hubs.notify_close(fd)
    green_os.close(fd)


def run_worker(entrypoint: Any, *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """Run the method of a nameko entrypoint to its end, in a worker: its result, and its exception."""
    done = Signal()

    def on_end(_context: Any, result: Any, error: Any) -> tuple[Any, Any]:
        done.set((result, error and error[1]))
        return result, error

    entrypoint.container.spawn_worker(entrypoint, args, kwargs, handle_result=on_end)
    ended: tuple[Any, Exception | None] = done.wait()
    return ended


def end_workers(entrypoint: Any) -> None:
    """End those that run the method of a nameko entrypoint, where they wait."""
    for context, thread in list(entrypoint.container._worker_threads.items()):
        if context.entrypoint is entrypoint:
            thread.kill()


def wait_for_all(tasks: Sequence[Task]) -> None:
    """Until all have ended; the first exception is raised, and the others are ended."""
    try:
        for task in tasks:
            task.wait()
    finally:
        for task in tasks:
            task.kill()
