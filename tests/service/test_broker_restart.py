"""A service that starts before the broker waits for it, and serves again after the broker's restart; it can be ended
meanwhile."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from deploy.broker.rabbitmq import RabbitmqUser
from services.kit.bus.bus import BrokerBus
from tests.support.broker import PrivateBroker
from tests.support.wait import wait_until
from walt.contracts.broker_permissions import SERVICE_RIGHTS
from walt.contracts.errors import Failed


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_it_answers(bus, limit_s):
    end = time.monotonic() + limit_s
    while True:
        try:
            return bus.call("toy", "greet", timeout_s=2, what="hello")
        except Failed:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.fixture
def broker(tmp_path_factory):
    one = PrivateBroker(tmp_path_factory.mktemp("broker"), [RabbitmqUser("walt-services", "secret", SERVICE_RIGHTS)])
    yield one
    one.kill()


def test_late_and_restarted_broker(broker, monkeypatch):
    uri = f"amqp://walt-services:secret@127.0.0.1:{broker.port}/test0"
    bus = BrokerBus(uri, "test")
    monkeypatch.setenv("WALT_AMQP_URI", uri)
    monkeypatch.setenv("WALT_METRICS_PORT", str(metrics := free_port()))
    toy = subprocess.Popen([sys.executable, "-m", "tests.service.toy_process"], env=os.environ)
    try:
        broker.start()  # takes longer than the start of the toy, which tries in vain meanwhile
        assert toy.poll() is None
        assert until_it_answers(bus, 20) == "hello you"
        broker.stop()
        broker.start()
        assert until_it_answers(bus, 30) == "hello you"
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as page:
            assert 'walt_entrypoint_calls_total{entrypoint="greet"}' in page.read().decode()
    finally:
        bus.close()
        toy.terminate()
        assert toy.wait(15) == 0


def toy_process(monkeypatch, uri, log):
    monkeypatch.setenv("WALT_AMQP_URI", uri)
    monkeypatch.setenv("WALT_METRICS_PORT", str(free_port()))
    words = [sys.executable, "-m", "tests.service.toy_process"]
    with log.open("w") as stderr:
        return subprocess.Popen(words, env=os.environ, stderr=stderr)


def test_fault_s38_of_two_processes_of_one_name_one_serves(broker, monkeypatch, tmp_path):
    """Wherever they run: two servers with one WALT_HOST are two vmrunners of one name."""
    broker.start()
    uri = f"amqp://walt-services:secret@127.0.0.1:{broker.port}/test0"
    logs = [tmp_path / "first", tmp_path / "second"]
    first = toy_process(monkeypatch, uri, logs[0])
    second = None
    try:
        wait_until(lambda: "serving" in logs[0].read_text(), 30, "the first serves")
        second = toy_process(monkeypatch, uri, logs[1])
        told = "another toy, which serves already; allowed: one"
        wait_until(lambda: told in logs[1].read_text(), 30, "the second says why it waits")
        assert "serving" not in logs[1].read_text()
        first.kill()
        wait_until(lambda: "serving" in logs[1].read_text(), 30, "it takes over")
    finally:
        for toy in filter(None, (first, second)):
            toy.kill()
            toy.wait()


def test_a_broker_that_was_restarted_finds_the_same_one_serving(broker, monkeypatch, tmp_path):
    broker.start()
    uri = f"amqp://walt-services:secret@127.0.0.1:{broker.port}/test0"
    logs, toys = [tmp_path / "first", tmp_path / "second"], []
    try:
        toys.append(toy_process(monkeypatch, uri, logs[0]))
        wait_until(lambda: "serving" in logs[0].read_text(), 30, "the first serves")
        toys.append(toy_process(monkeypatch, uri, logs[1]))
        wait_until(lambda: "another toy, which serves" in logs[1].read_text(), 30, "the second waits")
        broker.stop()
        broker.start()
        wait_until(lambda: logs[1].read_text().count("another toy, which serves") == 2, 60, "it waits again")
        assert "serving" not in logs[1].read_text() and toys[0].poll() is None
    finally:
        for toy in toys:
            toy.kill()
            toy.wait()


def test_ends_at_once_while_it_waits_for_the_broker(monkeypatch, tmp_path):
    """By itself: the first process of a container has no default for SIGTERM, and would be killed after 10 s."""
    log = tmp_path / "log"
    toy = toy_process(monkeypatch, f"amqp://walt-services:secret@127.0.0.1:{free_port()}//", log)
    try:
        wait_until(lambda: "waiting for the broker" in log.read_text(), 30, "it waits")
    finally:
        toy.terminate()
        assert toy.wait(15) == 0
