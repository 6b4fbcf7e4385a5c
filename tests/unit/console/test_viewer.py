from types import SimpleNamespace

from services.console.line.scrollback import Extent, Replay
from services.console.line.viewer import BATCH_BYTES, LineViewer
from walt.contracts import console

SO_FAR = 5 * BATCH_BYTES + 7


class EndlessRecording:
    """Of a node that prints for ever."""

    def extent(self):
        return Extent(0, 10**12)

    def read(self, offset, size):
        assert offset <= SO_FAR, "it reads beyond its end"
        return bytes(size)


def test_what_there_is_so_far_has_an_end():
    sent = []
    publisher = SimpleNamespace(send=lambda kind, body=b"", **headers: sent.append((kind, len(body))))
    line = SimpleNamespace(recording=EndlessRecording())
    LineViewer(line, Replay(0), read_only=True, until=SO_FAR).run(publisher)
    assert sent[-1] == (console.EXIT, 1)
    assert sum(size for kind, size in sent if kind == console.DATA) == SO_FAR
