"""What a kernel lacks that experiments ask for."""

import pytest

from services.bootserver.image_kernel import wished_modules
from services.bootserver.image_kernel.wished_modules import WISHED, missing


@pytest.fixture
def modules(tmp_path):
    folder = tmp_path / "lib/modules/6.1"
    folder.mkdir(parents=True)
    return folder


def test_modules_and_what_is_built_in_are_there(modules, tmp_path):
    (modules / "modules.dep").write_text("kernel/net/hsr/hsr.ko.xz: kernel/x.ko\nkernel/drivers/net/can/vcan.ko:\n")
    (modules / "modules.builtin").write_text("kernel/net/batman-adv/batman-adv.ko\n")
    assert set(WISHED) - set(missing(tmp_path, "6.1")) == {"hsr", "vcan", "batman_adv"}


def test_without_modules_all_are_missing(tmp_path):
    assert missing(tmp_path, "6.1") == WISHED


def test_what_a_user_wrote_takes_bounded_memory(modules, tmp_path, monkeypatch):
    monkeypatch.setattr(wished_modules, "INDEX_BYTES", 10)
    (modules / "modules.dep").write_bytes(b"\xff" * 20 + b"\nkernel/hsr.ko:\n")
    assert missing(tmp_path, "6.1") == WISHED
