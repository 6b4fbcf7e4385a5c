"""The closing line of `make test`, which is read by people and by scripts."""

import re
from collections import Counter
from pathlib import Path

from tests.everything import closing_line, deal, outcomes, run_together

REPORT = """<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.0">
</testsuite></testsuites>"""


def test_outcomes_of_a_report() -> None:
    assert outcomes(REPORT) == Counter(passed=4, failures=2, errors=1, skipped=3)


def test_a_level_that_left_no_report_is_an_error() -> None:
    assert outcomes("") == Counter(errors=1)


def test_the_closing_line_reads_as_that_of_pytest() -> None:
    line = closing_line(Counter(passed=4, failures=2), 12.3456)
    assert re.fullmatch(r"=+ 2 failed, 4 passed in 12\.35s =+", line)


def test_each_file_is_dealt_to_one_process() -> None:
    assert deal(["a", "b", "c"]) == [["a", "c"], ["b"]]


def test_what_runs_side_by_side_is_reported_part_by_part(tmp_path: Path, capfd) -> None:
    files = [tmp_path / "test_good.py", tmp_path / "test_bad.py"]
    for file, outcome in zip(files, ("True", "False"), strict=True):
        file.write_text(f"def test():\n    assert {outcome}\n")
    options = ["-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    (good, good_report), (bad, bad_report) = run_together([[str(file)] for file in files], options)
    assert (good, bad) == (0, 1)
    assert outcomes(good_report) + outcomes(bad_report) == Counter(passed=1, failures=1)
    assert "test_bad.py" in capfd.readouterr().out
