"""KSM is on while an instance is up, and as before afterwards."""

import pytest

from deploy.local import host_ksm


@pytest.fixture
def ksm(tmp_path, monkeypatch):
    folder = tmp_path / "ksm"
    folder.mkdir()
    monkeypatch.setattr(host_ksm, "KSM", folder)
    monkeypatch.setattr(host_ksm, "RECORD", tmp_path / "record.json")
    return folder


def fill(folder, **values):
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")


def settings(folder):
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


OFF = {"run": "0", "advisor_mode": "[none] scan-time", "advisor_max_cpu": "70", "pages_to_scan": "100"}
ON = {"run": "1", "advisor_mode": "scan-time", "advisor_max_cpu": "10", "pages_to_scan": "100"}


def test_it_is_on_until_the_last_instance_is_down(ksm, tmp_path):
    fill(ksm, **OFF)
    for instance in ("one", "two", "one"):
        assert host_ksm.hold(instance) == ""
        assert settings(ksm) == ON
    host_ksm.release("one")
    assert settings(ksm) == ON
    for _ in range(2):
        host_ksm.release("two")
        assert settings(ksm) == OFF | {"advisor_mode": "none"}
    assert not (tmp_path / "record.json").exists()


def test_what_somebody_else_switched_on_stays_as_it_is(ksm):
    fill(ksm, **OFF | {"run": "1", "advisor_max_cpu": "50"})
    before = settings(ksm)
    assert host_ksm.hold("one") == ""
    host_ksm.release("one")
    assert settings(ksm) == before


def test_a_kernel_without_an_advisor(ksm):
    fill(ksm, run="0")
    assert host_ksm.hold("one") == ""
    assert settings(ksm) == {"run": "1"}
    host_ksm.release("one")
    assert settings(ksm) == {"run": "0"}


def test_a_kernel_without_it(ksm, tmp_path):
    assert host_ksm.hold("one") == "No such file or directory"
    host_ksm.release("one")
    assert not (tmp_path / "record.json").exists()


def test_what_was_half_set_is_undone(ksm, monkeypatch):
    fill(ksm, **OFF)
    write = host_ksm._write

    def refuse_to_run(values):
        write({name: value for name, value in values.items() if (name, value) != ("run", "1")})
        if values.get("run") == "1":
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(host_ksm, "_write", refuse_to_run)
    assert host_ksm.hold("one") == "Permission denied"
    assert settings(ksm) == OFF | {"advisor_mode": "none"}
