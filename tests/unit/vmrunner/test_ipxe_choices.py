"""Conditions, jumps and menus in boot scripts (fault B36)."""

import pytest

from services.vmrunner.boot.ipxe import Interpreter, LoadedFile
from services.vmrunner.boot.script_menu import MAX_ITEMS
from services.vmrunner.boot.script_parser import ScriptError

URL = "http://10.0.0.1/script"
VARIABLES = {"mac": "52:54:00:00:00:01", "hostname": "vnode1"}


class Host:
    def __init__(self, scripts):
        self.scripts, self.said = scripts, []

    def say(self, text):
        self.said.append(text)

    def text(self, url):
        return "#!ipxe\n" + self.scripts[url]

    def file(self, url):
        return LoadedFile(1, 1)


def run(script, **chained):
    """What the script printed between its first and its last line."""
    scripts = {f"http://10.0.0.1/{name}": text for name, text in chained.items()}
    host = Host({URL: f"{script}\necho END\nkernel vmlinuz\nboot", **scripts})
    Interpreter(host).run(URL, VARIABLES)
    said = "".join(host.said)
    return said[said.index("ok\n") + 3 : said.index("END\n")]


def fault_of(script, **chained):
    with pytest.raises(ScriptError) as caught:
        run(script, **chained)
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("isset ${mac} && echo yes || echo no", "yes\n"),
        ("isset ${none} && echo yes || echo no", "no\n"),
        ("isset ${none}${mac} && echo yes || echo no", "yes\n"),
        ("iseq ${hostname} vnode1 && echo yes || echo no", "yes\n"),
        ("iseq ${hostname} vnode2 && echo yes || echo no", "no\n"),
        ("iseq ${none} ${none} && echo yes || echo no", "yes\n"),
        ("iseq ${mac:hexraw} 525400000001 && goto mine || goto other\n:other\necho other\n:mine\necho mine", "mine\n"),
        ("goto a\n:b\necho b\ngoto c\n:a\necho a\ngoto b\n:c", "a\nb\n"),
        ("  :spaced label\ngoto done || echo never\necho skipped\n:done", ""),
        ("goto end && echo never\n:end", ""),
        ("set x end\ngoto ${x}\necho never\n:end", ""),
        (":a\nisset ${again} && goto end ||\nset again 1\necho once\ngoto a\n:end", "once\n"),
        ("goto a\necho never\n:a\necho first\ngoto end\n:a\necho second\n:end", "first\n"),
    ],
)
def test_conditions_and_jumps(script, printed):
    assert run(script) == printed


def test_a_label_that_is_missing_can_be_caught_and_is_named():
    printed = run("goto nowhere || echo caught\n:somewhere")
    assert printed == "failed: there is no label 'nowhere'; allowed: somewhere\ncaught\n"
    assert "line 2, goto: there is no label 'nowhere'; allowed: none, there is none" in fault_of("goto nowhere")


def test_labels_are_those_of_a_script_alone():
    assert "there is no label 'outer'" in fault_of(":outer\nchain more", more="goto outer")
    assert "in\nout\n" in run("chain more\ngoto out\n:out\necho out", more="goto in\n:out\necho never\n:in\necho in")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("isset ${none}", "line 2, isset: it is not set"),
        ("iseq a b", "line 2, iseq: 'a' is not 'b'"),
        ("iseq a", "line 2, iseq: 'iseq' needs two arguments"),
        ("goto", "line 2, goto: 'goto' needs an argument"),
        (":a\ngoto a", "the boot script has run 1000 commands and no `boot`"),
        ("echo ${mac:raw}", "line 2, echo: 'raw' is not a known form"),
        ("set x:hex 01", "line 2, set: 'x:hex' has a form"),
        ("item a", "line 2, item: 'item' without a `menu` before it"),
        ("choose x", "line 2, choose: 'choose' without a `menu` before it"),
        ("menu m\nchoose x", "line 3, choose: the menu has no item ''; allowed: none, there is none"),
        ("menu m\nitem a\nchoose --default b x", "line 4, choose: the menu has no item 'b'; allowed: a"),
        ("menu m\nitem a\nchoose", "line 4, choose: 'choose' needs an argument"),
        ("menu m\n" + "item a b\n" * (MAX_ITEMS + 1), f"item: a menu of more than {MAX_ITEMS} items"),
    ],
)
def test_faults(script, fault):
    assert fault in fault_of(script)


MENU = "menu Which one\nitem --gap -- Systems:\nitem --key d debian Debian 12\nitem {}small A small one\n"


@pytest.mark.parametrize(
    ("marked", "options", "chosen"),
    [
        ("", "", "debian"),
        ("--default ", "", "small"),
        ("", "--default small --timeout 5000 ", "small"),
        ("--default ", "-d debian -t 5000 ", "debian"),
    ],
)
def test_the_default_of_a_menu_is_chosen_at_once(marked, options, chosen):
    printed = run(f"{MENU.format(marked)}choose {options}os && goto ${{os}}\n:small\necho small it is\n:debian")
    shown = "Which one\n  Systems:\n  debian       Debian 12\n  small        A small one\n"
    assert printed == f"{shown}chosen: {chosen}\n" + ("small it is\n" if chosen == "small" else "")
