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


def test_ends_at_once_while_it_waits_for_the_broker(monkeypatch):
    """By itself: the first process of a container has no default for SIGTERM, and would be killed after 10 s."""
    monkeypatch.setenv("WALT_AMQP_URI", f"amqp://walt-services:secret@127.0.0.1:{free_port()}//")
    monkeypatch.setenv("WALT_METRICS_PORT", str(free_port()))
    words = [sys.executable, "-m", "tests.service.toy_process"]
    with subprocess.Popen(words, env=os.environ, stderr=subprocess.PIPE, text=True) as toy:
        assert any("waiting for the broker" in line for line in toy.stderr)
        toy.terminate()
        assert toy.wait(15) == 0
