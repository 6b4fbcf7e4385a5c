"""Of two vmrunners of one state folder, the second does not start."""

import pytest

from services.vmrunner.app import only_one


def test_fault_s38_a_second_vmrunner_adopts_nothing(tmp_path):
    first = only_one(tmp_path)
    with pytest.raises(SystemExit, match="another vmrunner has .*; allowed: one of each host"):
        only_one(tmp_path)
    first.close()
    only_one(tmp_path).close()
