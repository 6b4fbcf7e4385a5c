"""The kernel's merging of equal memory pages (KSM): on while an instance of this host is up, and afterwards as it was
before. Where somebody else has switched it on, nothing is changed.

The kernel's advisor finds how many pages to look at; it may use MAX_CPU_PERCENT of one processor. Kernels before 6.8
have none, and look at their own pace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.kit.files import write_atomically

KSM = Path("/sys/kernel/mm/ksm")
RECORD = Path("/run/walt-ksm.json")  # gone after a reboot, as is what it tells
MAX_CPU_PERCENT = 10
SETTINGS = {"advisor_mode": "scan-time", "advisor_max_cpu": str(MAX_CPU_PERCENT), "run": "1"}


def hold(instance: str) -> str:
    """Why it stays off, "" when it is on."""
    with _record() as record:
        try:
            is_off = not record["instances"] and _read("run") == "0"
            if is_off:
                record["former"] = {name: _read(name) for name in SETTINGS if (KSM / name).exists()}
            record["instances"] = sorted({*record["instances"], instance})
            _store(record)  # first: whoever is killed after it can be undone
            if is_off:
                _write({name: SETTINGS[name] for name in record["former"]})
        except OSError as error:
            record["instances"] = []
            _restore(record)
            return str(error.strerror)
    return ""


def release(instance: str) -> None:
    if not RECORD.exists():
        return
    with _record() as record:
        record["instances"] = [one for one in record["instances"] if one != instance]
        if not record["instances"]:
            _restore(record)


def _restore(record: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        _write(dict(reversed(record["former"].items())))
    record["former"] = {}


def _read(name: str) -> str:
    """'scan-time' of '[scan-time] none'."""
    text = (KSM / name).read_text().strip()
    chosen = re.search(r"\[(\S+)\]", text)
    return chosen[1] if chosen else text


def _write(values: dict[str, str]) -> None:
    for name, value in values.items():
        (KSM / name).write_text(value)


@contextlib.contextmanager
def _record() -> Iterator[dict[str, Any]]:
    """former: settings to restore, empty when they are not ours; instances: names of those that are up. One process of
    the host at a time."""
    with RECORD.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {"former": {}, "instances": []}
        yield record
        _store(record)


def _store(record: dict[str, Any]) -> None:
    if record["instances"]:
        write_atomically(RECORD, json.dumps(record))
    else:
        RECORD.unlink(missing_ok=True)
