"""A request that comes again is obeyed once; what is remembered of it is bounded for each caller."""

import pytest

from services.kit.bus.repetitions import (
    ENTRY,
    KEPT_CHARACTERS,
    KEPT_OF_ALL,
    KEPT_OF_ONE_CALLER,
    CallId,
    Repetitions,
    call_id_of,
)

ADA, BOB = CallId("ada", "1"), CallId("bob", "1")


def test_copies_that_come_meanwhile_wait_for_the_one_reply():
    memory = Repetitions[str]()
    assert memory.begins(ADA, "first")
    assert not memory.begins(ADA, "second")
    assert memory.begins(BOB, "another's")
    assert memory.end(ADA, "first", "done") == ["first", "second"]
    assert (memory.reply(ADA), memory.reply(BOB)) == ("done", None)


def test_a_call_without_a_key_is_new_whenever_it_comes():
    memory, nameless = Repetitions[str](), CallId("ada")
    assert memory.begins(nameless, "first") and memory.begins(nameless, "second")
    assert memory.end(nameless, "first", "done") == ["first"]
    assert memory.reply(nameless) is None


def test_a_copy_that_is_refused_unread_ends_only_itself():
    memory = Repetitions[str]()
    memory.begins(ADA, "first")
    assert memory.end(ADA, "second", "busy") == ["second"]
    assert memory.reply(ADA) is None
    assert memory.end(ADA, "first", "done") == ["first"] and memory.reply(ADA) == "done"


def test_what_was_refused_unread_is_not_obeyed_later():
    memory = Repetitions[str]()
    assert memory.end(ADA, "first", "busy") == ["first"] and memory.reply(ADA) == "busy"


def test_large_replies_are_not_kept_and_each_caller_has_a_budget_of_his_own():
    memory = Repetitions[str]()
    memory.end(BOB, "", "kept")
    memory.end(ADA, "", "x" * (KEPT_CHARACTERS + 1))
    assert memory.reply(ADA) is None
    count = KEPT_OF_ONE_CALLER // (ENTRY + KEPT_CHARACTERS) + 1
    keys = [CallId("ada", f"k{number}") for number in range(count)]
    for key in (*keys, keys[-1]):  # one of them twice
        memory.end(key, "", "x" * KEPT_CHARACTERS)
    assert memory.reply(keys[0]) is None and memory.reply(keys[1]) and memory.reply(keys[-1])
    assert memory.reply(BOB) == "kept"


def test_of_many_callers_those_are_forgotten_who_were_silent_for_longest():
    memory, reply = Repetitions[str](), "x" * (KEPT_CHARACTERS - ENTRY)
    each = KEPT_OF_ONE_CALLER // KEPT_CHARACTERS
    callers = [f"user{number}" for number in range(KEPT_OF_ALL // KEPT_OF_ONE_CALLER)]
    for caller in (*callers, callers[0]):
        for number in range(each):
            memory.end(CallId(caller, str(number)), "", reply)
    memory.end(BOB, "", "one more")
    kept = [memory.reply(CallId(caller, "0")) is not None for caller in callers]
    assert kept == [True, False, *[True] * (len(callers) - 2)] and memory.reply(BOB)


SENT = ("ada", {"message_id": "m"}, "nodes.reboot_nodes", '{"args": []}')


@pytest.mark.parametrize(
    "other",
    [
        ("bob", *SENT[1:]),
        ("ada", {"message_id": "n"}, *SENT[2:]),
        (*SENT[:2], "nodes.stop_nodes", SENT[3]),
        (*SENT[:3], '{"args": [1]}'),
    ],
)
def test_another_call_has_another_id(other):
    assert call_id_of(*SENT) != call_id_of(*other)


def test_the_same_call_has_the_same_id_whatever_else_differs():
    again = ("ada", {"message_id": "m", "reply_to": "elsewhere", "expiration": "1"}, SENT[2], SENT[3].encode())
    assert call_id_of(*SENT) == call_id_of(*again)
    assert call_id_of("ada", {"message_id": "\udcff" * 255}, "", b"\xff").key
    assert call_id_of("ada", {}, *SENT[2:]) == CallId("ada")
