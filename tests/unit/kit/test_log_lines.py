"""A record is one line of the log, whatever is in its words."""

import io
import logging
import re

import pytest

from services.kit.log_lines import FORMAT, LineFormatter
from tests.unit.test_architecture import name_of, sources

FORGED = "x\n2026-11-26 04:00:00,000 ERROR nodes: forged\x1b[2J\r\x7f\x85\x9b\u202e\u2028"


@pytest.fixture
def log():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(LineFormatter(FORMAT))
    logger = logging.Logger("nodes")
    logger.addHandler(handler)
    logger.written = out.getvalue
    return logger


def test_a_record_is_one_printable_line(log):
    log.warning("refused: %s", FORGED)
    line = log.written().removesuffix("\n")
    assert line.isprintable()
    assert line.endswith(
        r"WARNING nodes: refused: x\n2026-11-26 04:00:00,000 ERROR nodes: forged\x1b[2J\r\x7f\x85\x9b\u202e\u2028"
    )


def test_a_traceback_keeps_its_lines_indented(log):
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("call failed", stack_info=True)
    first, *others = log.written().removesuffix("\n").split("\n")
    assert first.endswith("ERROR nodes: call failed")
    assert others[0] == "    Traceback (most recent call last):"
    assert "    2026-11-26 04:00:00,000 ERROR nodes: forged" in "\n".join(others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize("path", sources("services"), ids=name_of)
def test_no_process_sets_up_another_log(path):
    if name_of(path) != "services/kit/log_lines.py":
        assert not re.search(r"\b(basicConfig|dictConfig|addHandler|setFormatter)\b", path.read_text())
