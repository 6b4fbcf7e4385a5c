"""A fault that lasts is logged once, and once that it is over."""

import logging

import pytest

from services.kit.say_once import SayOnce
from walt.contracts.errors import Failed, Unreachable


@pytest.fixture
def say(caplog):
    caplog.set_level(logging.INFO)
    return SayOnce(logging.getLogger("test"), "waiting for it: %s", "it answers again")


def test_a_fault_that_lasts_is_logged_once(say, caplog):
    for _ in range(3):
        say.failed(Failed("away"))
    assert caplog.messages == ["waiting for it: away"]
    assert say.fault == "away"


def test_another_fault_is_logged_too(say, caplog):
    for error in (Failed("away"), Failed("refused"), Unreachable("refused")):
        say.failed(error)
    assert caplog.messages == ["waiting for it: away", "waiting for it: refused", "waiting for it: refused"]


def test_a_kind_tells_faults_apart_whose_text_is_always_another(say, caplog):
    for attempt in range(3):
        say.failed(f"no answer at try {attempt}", kind="no answer")
    assert caplog.messages == ["waiting for it: no answer at try 0"]
    assert say.fault == "no answer at try 2"


def test_the_end_is_logged_once_and_the_next_fault_is_new(say, caplog):
    say.succeeded()
    say.failed("away")
    say.succeeded()
    say.succeeded()
    assert say.fault == ""
    say.failed("away")
    assert caplog.messages == ["waiting for it: away", "it answers again", "waiting for it: away"]


def test_an_error_without_text_is_a_fault_too(say):
    say.failed(TimeoutError())
    assert say.fault == "TimeoutError()"
