"""The variables of boot scripts, in the forms of iPXE."""

import pytest

from services.vmrunner.boot.script_values import SHOWN_WORDS, expand, listed
from walt.contracts.errors import Failed

VARIABLES = {"mac": "52:54:00:00:00:01", "ip": "10.0.0.2", "hostname": "vnode 1", "one": "\x01", "high": "\u00ff"}


@pytest.mark.parametrize(
    ("word", "expanded"),
    [
        ("a${mac:hexhyp}b${ip}${none}", "a52-54-00-00-00-01b10.0.0.2"),
        ("${net0/mac}", "52:54:00:00:00:01"),
        ("${netX/ip}", "10.0.0.2"),
        ("${none:hexhyp}", ""),
        ("${mac:hex}", "52:54:00:00:00:01"),
        ("${mac:hexraw}", "525400000001"),
        ("${mac:string}", "52:54:00:00:00:01"),
        ("${ip:hex}", "0a:00:00:02"),
        ("${ip:ipv4}", "10.0.0.2"),
        ("${ip:ip}", "10.0.0.2"),
        ("${ip:uint32}", "0xa000002"),
        ("${ip:int32}", "167772162"),
        ("${one:int8}", "1"),
        ("${high:int16}", "-15425"),
        ("${high:uint16}", "0xc3bf"),
        ("${hostname:uristring}", "vnode%201"),
        ("${hostname:hexraw}", "766e6f64652031"),
        ("${hostname:base64}", "dm5vZGUgMQ=="),
        ("$ {x} ${ $", "$ {x} ${ $"),
    ],
)
def test_forms(word, expanded):
    assert expand(word, VARIABLES, 100) == expanded


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("${mac:raw}", "'raw' is not a known form of a variable; allowed: string, uristring, ipv4, ip, hex"),
        ("${none:raw}", "'raw' is not a known form"),  # also of a variable that is not set
        ("${mac:}", "'' is not a known form"),
        ("${mac:int32}", "'52:54:00:00:00:01' has more than 32 bits"),
        ("${hostname:ipv4}", "'vnode 1' is not an IPv4 address"),
    ],
)
def test_a_wrong_form_is_an_error(word, fault):
    with pytest.raises(Failed, match=fault):
        expand(word, VARIABLES, 100)


def test_what_is_allowed_is_listed_within_bounds():
    assert listed([]) == "none, there is none"
    assert listed(["a", "b"]) == "a, b"
    many = listed(["x" * 1000] * 1000)
    assert many.endswith(", …") and len(many) < 1000 and many.count("x,") == SHOWN_WORDS
