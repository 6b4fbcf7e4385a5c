"""Which accelerator a kernel gets, and what is remembered of a probe."""

from pathlib import Path

import pytest

from services.contracts.errors import Failed
from services.vmrunner.accelerator import Accelerator, Choice
from services.vmrunner.vm import KvmRights

BROKEN = "/dev/kvm is there, but a kernel does not boot under it (no end after 8 s)"


class Host:
    """Its /dev/kvm boots these kernels."""

    def __init__(self, *kernels: str) -> None:
        self.kernels, self.probed = kernels, []
        self.qemu = "QEMU 7"

    def version(self) -> str:
        return self.qemu

    def kvm_rights(self) -> KvmRights:
        return KvmRights(0o660, 0, 108)

    def try_kvm(self, kernel, kvm_group, limit_s) -> None:
        assert kvm_group == 108
        self.probed.append(kernel.name)
        if kernel.name not in self.kernels:
            raise Failed("qemu: no end after 8 s")


@pytest.fixture
def memory(tmp_path) -> Path:
    return tmp_path / "accelerator.json"


def choose(host: Host, memory: Path, kernel: str) -> str:
    return Accelerator("auto", host, memory).choose(Path(kernel)).name


def test_one_kernel_that_does_not_boot_condemns_kvm_for_no_other(memory):
    """It may be a user's own, the first on this host, and at fault itself."""
    host = Host("good")
    assert [choose(host, memory, name) for name in ("bad", "bad", "good", "bad", "good")] == ["tcg"] * 2 + ["kvm"] * 3
    assert host.probed == ["bad", "good"]


def test_where_no_kernel_boots_each_is_tried_once(memory):
    host = Host()
    assert [choose(host, memory, name) for name in ("one", "two", "one", "two")] == ["tcg"] * 4
    assert host.probed == ["one", "two"]
    assert Accelerator("auto", host, memory).known() == Choice("tcg", BROKEN)
    host.qemu = "QEMU 8"
    assert Accelerator("auto", host, memory).known() is None


@pytest.mark.parametrize("content", ["", "5", "{}", '{"key": "older", "name": "tcg", "why": "x"}'])
def test_a_memory_that_says_nothing_is_made_anew(memory, content):
    memory.write_text(content)
    assert choose(Host("good"), memory, "good") == "kvm"
