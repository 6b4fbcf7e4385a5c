"""Which accelerator a kernel gets, and what is remembered of a probe."""

from pathlib import Path

import pytest

from services.vmrunner.qemu.accelerator import Accelerator, AcceleratorChoice, Reason
from services.vmrunner.qemu.vm import KvmRights
from walt.contracts.errors import Failed

BROKEN = AcceleratorChoice("tcg", Reason.DOES_NOT_BOOT, "qemu: no end after 8 s")


class Host:
    """Its /dev/kvm boots these kernels."""

    def __init__(self, *kernels: str) -> None:
        self.kernels, self.probed = kernels, []
        self.trial_uid, self.rights = 64901, KvmRights(0o660, 0, 108)
        self.qemu = "QEMU 7"

    def version(self) -> str:
        return self.qemu

    def kvm_rights(self) -> KvmRights:
        return self.rights

    def try_kvm(self, kernel, kvm_group, limit_s) -> None:
        assert kvm_group == (self.rights.gid or None)
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
    assert Accelerator("auto", host, memory).known() == BROKEN
    host.qemu = "QEMU 8"
    assert Accelerator("auto", host, memory).known() is None


@pytest.mark.parametrize("content", ["", "5", "{}", '{"key": "older", "name": "tcg", "reason": "x"}'])
def test_a_memory_that_says_nothing_is_made_anew(memory, content):
    memory.write_text(content)
    assert choose(Host("good"), memory, "good") == "kvm"


@pytest.mark.parametrize(
    ("rights", "uid", "reason"),
    [
        (KvmRights(0o660, 0, 0), 64901, Reason.NOT_PERMITTED),
        (KvmRights(0o600, 64901, 0), 64901, Reason.DOES_NOT_BOOT),
        (KvmRights(0o666, 0, 0), 64901, Reason.DOES_NOT_BOOT),
        (KvmRights(0o660, 0, 108), 64901, Reason.DOES_NOT_BOOT),
        (KvmRights(0o600, 0, 0), 0, Reason.DOES_NOT_BOOT),
    ],
)
def test_a_probe_that_fails_for_lack_of_rights_says_so(memory, rights, uid, reason):
    host = Host()
    host.rights, host.trial_uid = rights, uid
    assert Accelerator("auto", host, memory).choose(Path("kernel")).reason is reason
