"""A client whose services are plain functions, and nodes as they come over the wire."""

import time

from walt.client import Call
from walt.contracts.nodes import NodeView
from walt.replies import read


def node(name, state="booted", reason="", **more):
    return {
        "name": name,
        "owner": "alice",
        "state": state,
        "since": time.time() - 185,
        "reason": reason,
        "cause": "",
        "type": "virtual",
        "ip": "192.168.172.2",
        "mac": "52:54:00:00:00:02",
        "image": "default",
        "host": "local",
        "config": {"ram": "512M", "cpu.cores": "4"},
        **more,
    }


def node_view(name, **more):
    return read(NodeView, node(name, **more))


class FakeClient:
    """answers: {method: value, or exception, or list of them for one call after the other}"""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []

    def call(self, service, method, *, timeout_s=0, **arguments):
        self.calls.append((f"{service}.{method}", arguments))
        answer = self.answers[method]
        if isinstance(answer, Script):
            answer = answer.next()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def start(self, service, method, *, timeout_s=0, **arguments):
        """`wait_nodes` is answered at once, by what `get_nodes` answers."""
        call = Call(service, method)
        self.calls.append((f"{service}.{method}", arguments))
        answer = self.answers["get_nodes"]
        answer = answer.next() if isinstance(answer, Script) else answer
        if isinstance(answer, BaseException):
            call.fail(answer)
        else:
            call.answer({"result": {"nodes": answer, "seen": str(len(self.calls))}})
        return call


class Script:
    """One answer a call; the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def next(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
