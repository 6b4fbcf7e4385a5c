"""The bootloader's script language, with scripts as bootserver and others write them, and with faults."""

import time
from pathlib import Path

import pytest

from services.vmrunner.boot.ipxe import Interpreter
from services.vmrunner.boot.origin import origin_of
from services.vmrunner.boot.script_host import Fetched, ScriptHost
from services.vmrunner.boot.script_parser import ScriptError
from walt.contracts.errors import Failed

BASE = "http://10.0.0.1/boot/5/"
START = BASE + "script.ipxe"
KERNEL = Fetched(Path("kernel"), 2_800_000)
INITRD = Fetched(Path("initrd"), 1_000_000)
ROOT = Fetched(Path("root"), 80_000_000)
VARIABLES = {"mac": "52:54:00:00:00:01", "ip": "10.0.0.2", "next-server": "10.0.0.1", "hostname": "vnode1"}


NODE = "node_ip=10.0.0.2"


class Server:
    """Scripts, and files that are known by the end of their URL. asked: URLs, each of which has named the node."""

    def __init__(self, scripts):
        self.scripts = scripts
        self.asked = []

    def text(self, url, on_progress=None):
        url = self._note(url)
        if url not in self.scripts:
            raise Failed(f"{url}: 404 Not Found")
        return "#!ipxe\n" + self.scripts[url]

    def file(self, url, on_progress):
        url = self._note(url)
        on_progress(60_000_000, 80_000_000 if url.endswith("root") else 0)
        for end, file in (("vmlinuz", KERNEL), ("initrd", INITRD), ("root", ROOT)):
            if url.endswith(end):
                return file
        raise Failed(f"{url}: 404 Not Found")

    def _note(self, url):
        url, _, query = url.partition("?")
        assert query == NODE
        self.asked.append(url)
        return url


ORIGIN = origin_of(START, node_id=5, node_ip="10.0.0.2")


class Host(ScriptHost):
    """With the interpreter in its own process. pauses: in which the script has waited."""

    def __init__(self, server, say=print, look=lambda: None, budget=None, clock=time.monotonic):
        super().__init__(server, ORIGIN, say, look, budget, clock)
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)


def run(script, **others):
    said = []
    server = Server({START: script, **{BASE + name: text for name, text in others.items()}})
    host = Host(server, said.append)
    boot = host.loaded(Interpreter(host).run(START, VARIABLES))
    return boot, "".join(said), server.asked, host.pauses


def test_the_script_of_bootserver():
    boot, said, asked, _ = run(
        "echo Booting ${hostname} with image default\n"
        "initrd http://${next-server}/boot/files/ab/initrd\n"
        "kernel http://${next-server}/boot/files/cd/vmlinuz initrd=initrd quiet walt.ip=${ip} walt.if=${mac:hexhyp}\n"
        "boot\n"
    )
    assert boot.kernel == KERNEL and boot.initrd == INITRD
    assert boot.command_line == "initrd=initrd quiet walt.ip=10.0.0.2 walt.if=52-54-00-00-00-01"
    assert said == (
        f"{START} ... ok\n"
        "Booting vnode1 with image default\n"
        "http://10.0.0.1/boot/files/ab/initrd ... ok 1.0 MB\n"
        "http://10.0.0.1/boot/files/cd/vmlinuz ... ok 2.8 MB\n"
    )


@pytest.mark.parametrize(
    ("line", "echoed"),
    [
        ("echo a && echo b", "a\nb\n"),
        ("echo a || echo b", "a\n"),
        ("chain nowhere || echo b", "b\n"),
        ("chain nowhere && echo a || echo b", "b\n"),
        ("echo a || chain nowhere && echo b", "a\nb\n"),
        ("chain nowhere ||", ""),
        ("echo a # echo b", "a\n"),
        ("# echo a", ""),
        ("", ""),
        ("set x one two && echo ${x} ${none}.", "one two .\n"),
        ("echo -n a", "a"),
    ],
)
def test_lines(line, echoed):
    _, said, _, _ = run(f"{line}\necho\nkernel vmlinuz\nboot")
    shown, kernel = said.removeprefix(f"{START} ... ok\n").rsplit(f"{BASE}vmlinuz", 1)
    missing = f"{BASE}nowhere ... failed: {BASE}nowhere: 404 Not Found\n"
    assert shown.replace(missing, "") == f"{echoed}\n" and kernel == " ... ok 2.8 MB\n"


def test_chained_scripts_resolve_against_themselves_share_variables_and_return():
    boot, _, asked, pauses = run(
        "chain --autofree sub/more.ipxe\nsleep 3\nkernel ${path}vmlinuz a=${a}\nboot",
        **{"sub/more.ipxe": "set a 1\nset path /x/\ninitrd --name i initrd\n"},
    )
    assert asked == [START, BASE + "sub/more.ipxe", BASE + "sub/initrd", "http://10.0.0.1/x/vmlinuz"]
    assert (boot.command_line, boot.initrd, pauses) == ("a=1", INITRD, [3.0])


@pytest.mark.parametrize("options", ["--name i", "-n i", "--timeout 5", "-t 5", "--autofree", "-n i --autofree -t 5"])
def test_options_before_a_uri(options):
    boot, _, asked, _ = run(f"kernel {options} vmlinuz a -n b\nboot")
    assert asked[1:] == [BASE + "vmlinuz"] and boot.command_line == "a -n b"


def test_boot_in_a_chained_script_ends_all():
    boot, said, _, _ = run("chain more\necho never", more="kernel vmlinuz\nboot")
    assert boot.kernel == KERNEL and "never" not in said


def test_a_san_disk_is_the_root_and_shows_its_progress():
    boot, said, _, _ = run("sanhook --drive 0x80 root\nkernel vmlinuz a\nboot")
    assert (boot.root, boot.initrd) == (ROOT, None)
    assert f"{BASE}root ... 75% ok 80.0 MB\n" in said
    assert run("kernel vmlinuz\nboot")[0].root is None


def test_imgfree_forgets():
    boot, _, _, _ = run("initrd initrd\nkernel vmlinuz a\nimgfree\nkernel vmlinuz b && boot")
    assert (boot.initrd, boot.command_line) == (None, "b")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo a\nparam top", "line 3: 'param' is not a known command; allowed: echo"),
        ("chain x || dhcp", "line 2: 'dhcp' is not a known command"),  # not even where it would not be reached
        ("kernel nowhere\nboot", "line 2, kernel: .*404"),
        ("boot", "line 2, boot: no kernel was loaded"),
        ("kernel vmlinuz", "ended without a `boot`"),
        ("kernel", "line 2, kernel: 'kernel' needs an argument"),
        ("kernel ${unset}", "'kernel' needs an argument"),
        ("sleep soon", "'soon' is not a number of seconds"),
        ("chain script.ipxe", "more than 16 scripts chained"),
        ("initrd initrd\ninitrd vmlinuz", "a second initrd"),
    ],
)
def test_faults_name_line_and_word(script, fault):
    with pytest.raises(ScriptError, match=fault):
        run(script)


def test_a_page_that_is_no_script():
    server = Server({})
    server.text = lambda url, on_progress: "<html>"
    with pytest.raises(ScriptError, match="not an iPXE script"):
        Interpreter(Host(server)).run(START, {})


# Scripts of images that were made for upstream

OWN = {
    "start.ipxe": "set node_model pc-x86-64\nchain /start-generic.ipxe\n",
    "start-generic.ipxe": (
        "set urlprefix http://${next-server}/boot\nchain ${urlprefix}/second.ipxe ||\necho falling back to tftp.\n"
        "set urlprefix tftp://${next-server}\nchain ${urlprefix}/start-2.ipxe || reboot\n"
    ),
    "start-2.ipxe": "initrd /initrd ||\nkernel ${urlprefix}/${node_model}/vmlinuz "
    "nfsroot=${server_ip}:/nodes/${mac:hexhyp}/fs\nboot\n",
}


def run_own(**changed):
    scripts = {f"http://10.0.0.1/{name}": text for name, text in {**OWN, **changed}.items()}
    server = Server(scripts | {START: "chain http://${next-server}/start.ipxe"})
    variables = {**VARIABLES, "server_ip": "10.0.0.1"}
    host = Host(server)
    return host.loaded(Interpreter(host).run(START, variables)), server.asked


def test_the_scripts_of_an_image_of_upstream():
    boot, asked = run_own()
    assert boot.command_line == "nfsroot=10.0.0.1:/nodes/52-54-00-00-00-01/fs"
    assert asked[-3:] == [f"http://10.0.0.1/{path}" for path in ("start-2.ipxe", "initrd", "pc-x86-64/vmlinuz")]


@pytest.mark.parametrize("word", ["reboot", "shell", "exit"])
def test_script_that_gives_up(word):
    with pytest.raises(ScriptError, match=f"line 2: the script gives up: {word}"):
        run_own(**{"start-2.ipxe": f"chain nowhere || {word} || echo never\nboot"})
