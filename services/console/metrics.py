"""The metrics of console, and the kinds of sessions; bytes are those that crossed the broker."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

BYTES = Counter("walt_console_bytes_total", "Bytes to viewers (out) and from them (in)", ["direction"])
SESSIONS = Gauge("walt_console_sessions", "Open sessions", ["kind"])
LINES = Gauge("walt_console_lines", "Serial lines of this host")
DROPPED = Counter("walt_console_dropped_messages_total", "Input messages of no session, of another user, or unreadable")

VIEWER = "viewer"
SHELL = "shell"
PING = "ping"
FORWARD = "forward"
CAPTURE = "capture"
