"""Which machine may start, with how much memory promised and free."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vmrunner import admission
from services.vmrunner.admission import Enter, HostMemory, Never, Tenant, Wait, admit
from services.vmrunner.memory import Memory

GIB = 2**30


def host(total=16, available=16.0, factor=1.5):
    return HostMemory("local", total * GIB, int(available * GIB), factor)


def tenants(*rams, resident=None):
    return [Tenant(ram * GIB, ram * GIB if resident is None else int(resident * GIB)) for ram in rams]


@pytest.mark.parametrize(
    ("memory", "inside", "ram", "verdict"),
    [
        (host(), [], 1, Enter()),
        (host(), tenants(12), 12, Enter()),  # over-committed up to the factor
        (
            host(),
            tenants(12, 8),
            8,
            Wait("waits for memory: host local has promised 20.0 of 24.0 GiB, this node wants 8.0"),
        ),
        (host(), [], 17, Never("host local has 16.0 GiB of memory, this node wants 17.0")),
        (host(factor=0.5), [], 9, Never("host local may promise 8.0 GiB, this node wants 9.0")),
        (host(available=1.0), [], 4, Wait("waits for memory: less than 1.3 GiB of host local is free for this node")),
        (host(available=1.4), [], 4, Enter()),
        # another of 4 GiB was let in a moment ago and has taken nothing yet
        (
            host(available=2.0),
            tenants(4, resident=0),
            4,
            Wait("waits for memory: less than 1.3 GiB of host local is free for this node"),
        ),
        (host(available=2.0), tenants(4, resident=2), 4, Enter()),
    ],
)
def test_admission(memory, inside, ram, verdict):
    assert admit(memory, inside, ram * GIB) == verdict


@given(st.lists(st.integers(1, 32), max_size=20), st.floats(0.1, 4), st.integers(1, 64))
def test_never_more_is_promised_than_allowed(rams, factor, total):
    memory, inside = host(total, total, factor), []
    for ram in rams:
        if admit(memory, inside, ram * GIB) == Enter():
            inside.append(Tenant(ram * GIB, 0))
    assert sum(one.ram_bytes for one in inside) <= admission.allowed_bytes(memory)


def test_two_that_start_at_once_are_not_both_let_in():
    book = Memory("local", 1.0, lambda field: 10 * GIB)
    verdicts = {}
    threads = [
        threading.Thread(target=lambda node=node: verdicts.update({node: book.ask(node, 6 * GIB)})) for node in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (inside,) = (node for node, verdict in verdicts.items() if verdict == Enter())
    assert book.promised_bytes() == 6 * GIB
    assert book.ask(inside, 6 * GIB) == Enter()  # its own former promise is not in its way
    book.give_back(inside)
    book.give_back(inside)
    assert book.promised_bytes() == 0 and book.ask(1, 6 * GIB) == Enter()


def test_a_machine_found_running_counts():
    book = Memory("local", 1.0, lambda field: 10 * GIB)

    class Running:
        def usage(self):
            return None

    book.occupy(5, 6 * GIB, Running())
    assert isinstance(book.ask(6, 6 * GIB), Wait)


def test_capacity_is_the_hosts():
    book = Memory("local", 2.5, {"MemTotal": 10 * GIB, "MemAvailable": GIB}.__getitem__)
    assert (book.capacity().ram_bytes, book.capacity().memory_factor) == (10 * GIB, 2.5)
    assert book.capacity().cpu_cores >= 1
