from types import SimpleNamespace

from services.console.scrollback import Extent, Replay
from services.console.viewer import BATCH_BYTES, Viewer
from services.contracts import console

SO_FAR = 5 * BATCH_BYTES + 7


class EndlessLog:
    """Of a node that never stops talking."""

    def extent(self):
        return Extent(0, 10**12)

    def read(self, offset, size):
        assert offset <= SO_FAR, "it goes on for ever"
        return bytes(size)


def test_what_there_is_so_far_has_an_end():
    sent = []
    outbox = SimpleNamespace(send=lambda kind, body=b"", **headers: sent.append((kind, len(body))))
    Viewer(SimpleNamespace(log=EndlessLog()), Replay(0), read_only=True, until=SO_FAR).pump(outbox)
    assert sent[-1] == (console.EXIT, 1)
    assert sum(size for kind, size in sent if kind == console.DATA) == SO_FAR
