"""The closing line of `make test`, which is read by people and by scripts."""

import re
from collections import Counter

from tests.everything import closing_line, outcomes

REPORT = """<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.0">
</testsuite></testsuites>"""


def test_outcomes_of_a_report() -> None:
    assert outcomes(REPORT) == Counter(passed=4, failures=2, errors=1, skipped=3)


def test_a_level_that_left_no_report_is_an_error() -> None:
    assert outcomes("") == Counter(errors=1)


def test_the_closing_line_reads_as_that_of_pytest() -> None:
    line = closing_line(Counter(passed=4, failures=2), 12.3456)
    assert re.fullmatch(r"=+ 2 failed, 4 passed in 12\.35s =+", line)
