"""`walt image …`: what of it is decided here."""

import pytest

from cli.commands import image, image_shell
from cli.transfer import image_copy, image_transfer
from cli.transfer.copy_request import CopyPath
from cli.tree import run
from cli.ui import image_report
from tests.unit.cli.fakes import FakeClient
from walt.contracts.bootserver import ImageChanged, ImageView
from walt.contracts.errors import Failed, InvalidRequest, NotFound


@pytest.mark.parametrize(
    ("path", "name"),
    [("x/Rootfs.tar.gz", "rootfs"), ("my-root/", "my-root"), ("a.tgz", "a"), ("b.tar.zst", "b"), ("v1.2.tar", "v1.2")],
)
def test_name_of_a_file(path, name):
    assert image.name_of_file(path) == name


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("my-lab:/etc", CopyPath("my-lab", "/etc")),
        ("alice/my-lab:etc/x", CopyPath("alice/my-lab", "etc/x")),
        ("my-lab:", CopyPath("my-lab", "/")),
        ("./a:b", CopyPath("", "./a:b")),
        ("/a:b", CopyPath("", "/a:b")),
        ("a/b/c:d", CopyPath("", "a/b/c:d")),
    ],
)
def test_sides_of_a_copy(text, endpoint):
    other = "here" if endpoint.remote else "lab:/x"
    assert image_copy.parse_request([text], other).sources == (endpoint,)


@pytest.mark.parametrize("words", [["a", "b"], ["lab:/a", "lab:/b"], ["lab:/a", "b", "c"], ["lab:/a", "b", "lab:/c"]])
def test_one_side_is_an_image(words):
    with pytest.raises(InvalidRequest, match="has to be IMAGE:PATH"):
        image_copy.parse_request(words[:-1], words[-1])


class Client:
    def __init__(self):
        self.calls = []

    def call(self, service, method, **arguments):
        self.calls.append((service, method, arguments))


@pytest.mark.parametrize(("terminal", "answer", "rebooted"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_who_uses_a_changed_image_is_rebooted_only_if_a_person_says_so(monkeypatch, capsys, terminal, answer, rebooted):
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer)
    client = Client()
    view = ImageView("alice/lab", "alice", 0.0, 10**8, "6.1")
    image_report.report_image(client, ImageChanged(view, ("it has no init",), ("a", "b")))
    said = capsys.readouterr().err
    assert "alice/lab: it has no init" in said
    assert client.calls == [("nodes", "reboot_nodes", {"selection": "a,b"})] * rebooted
    assert ("until: walt node reboot a,b" in said) == (not rebooted)


@pytest.mark.parametrize(
    ("saved", "save", "removed"),
    [
        (None, True, True),
        (Failed("the disk is full"), True, False),
        (KeyboardInterrupt(), True, False),
        (None, False, True),
    ],
)
def test_shell_loses_nothing_that_was_to_be_saved(monkeypatch, capsys, saved, save, removed):
    def save_node(client, node, target, force):
        if saved:
            raise saved

    for name, result in (("wait_until_booted", None), ("get_nodes", []), ("get_node", {}), ("open_shell", 0)):
        monkeypatch.setattr(image_shell, name, lambda *_, result=result: result)
    monkeypatch.setattr(image_shell, "save_node", save_node)
    client = FakeClient(create_nodes={}, remove_nodes={})
    try:
        assert image_shell.run(client, "default", "lab", save) == 0
    except (Failed, KeyboardInterrupt) as error:
        assert error is saved
    assert (client.calls[-1][0] == "nodes.remove_nodes") == removed
    assert ("has the changes: walt node save shell-" in capsys.readouterr().err) != removed


def test_work_that_nobody_follows_goes_on_and_is_said_to(capsys):
    client = FakeClient(follow_job=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        image_transfer.follow_job(client, "job", "importing x")
    assert capsys.readouterr().err == "importing x: continues on the server; see its result with: walt image show\n"


def test_download_that_is_not_waited_for_is_closed():
    client = FakeClient(open_download="7", follow_job=KeyboardInterrupt(), close_transfer=None)
    with pytest.raises(KeyboardInterrupt):
        image_transfer.Download(client, "from lab", "lab", "/etc")
    assert client.calls[-1] == ("bootserver.close_transfer", {"transfer": "7"})


def test_upload_that_is_lost_is_no_image_that_is_not_there():
    client = FakeClient(
        open_upload="7", finish_upload=NotFound("transfer '7' is not known any more"), close_transfer=None
    )
    with pytest.raises(Failed, match="'7' is not known"), image_transfer.Upload(client, "x") as upload:
        upload.finish()


CLOUD = {
    "name": "default",
    "owner": "",
    "created": 0.0,
    "size_bytes": 1,
    "kernel": "6.1-cloud",
    "lacks": ["vcan", "hsr"],
}
FULL = {**CLOUD, "name": "debian-full", "kernel": "6.1", "lacks": ["hsr"]}
DAMAGED = {**CLOUD, "name": "alice/old", "kernel": "none (walt doctor)", "lacks": []}
OF_AN_OLDER_SERVICE = {name: value for name, value in CLOUD.items() if name != "lacks"}


@pytest.mark.parametrize(
    ("images", "hint"),
    [
        ([CLOUD, FULL, DAMAGED], "debian-full has modules that others lack: walt node create NODE --image debian-full"),
        ([CLOUD, DAMAGED], "the operator of the platform can offer the image debian-full"),
        ([FULL], ""),
        ([OF_AN_OLDER_SERVICE], ""),
        ([], ""),
    ],
)
def test_fault_b33_what_kernels_lack_is_told_with_the_image_that_has_it(images, hint, capsys):
    assert run(["image", "show"], FakeClient(get_images=images)) == 0
    out, err = capsys.readouterr()
    assert ("vcan, hsr" in out) == (CLOUD in images)
    assert hint in err and bool(hint) == ("modules" in err)


def test_hints_are_no_part_of_data(capsys):
    assert run(["image", "show", "-o", "json"], FakeClient(get_images=[CLOUD, FULL])) == 0
    assert capsys.readouterr().err == ""
