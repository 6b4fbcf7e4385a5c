"""console@HOST: serial lines and shell sessions of one host, multiplexed.

Public RPC (users; the caller is who the broker says):
  open_line(node, queue, read_only=False, offset=None, follow=True) -> Opened    watch (and drive) the serial console;
                                                            offset: from there on, None for all of the scrollback;
                                                            follow=False: what there is so far, then EXIT "0"
  open_shell(node, queue, command=None, terminal=None) -> Opened    log in; terminal {"term", "rows", "columns"} for a pty;
                                                            command: list of words (joined by space, as ssh does), None for a shell
  keep_session(session) | close_session(session)            keep: once every KEEP_S; NotFound when it is gone
Internal RPC:
  prepare_line(node_id, name) -> Line     the line listens; marks a power-on in the scrollback   diagnose() -> [Check]
Hears: nodes NODE_REMOVED

Bytes are raw AMQP messages, in order, never RPC:
  to the viewer    default exchange, routing key = its queue `user.NAME.…` (exclusive, declared by the client)
  from the viewer  exchange INPUT_EXCHANGE (topic), routing key input_key(host)
Headers of both: `session` and `kind` (DATA, RESIZE, END_OF_INPUT, EXIT, NOTICE); body = bytes.
  RESIZE body: "ROWS COLUMNS";  EXIT body: exit status as text;  NOTICE body: a sentence for stderr
  END_OF_INPUT: no more input;  DATA to the viewer carries header `offset` (position in the line after it),
  and header `stream` ("out" or "err", for commands without a terminal).
An input message whose broker-checked user_id is not the session's user is dropped and logged.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.contracts.hosts import on_host

SERVICE = "console"

INPUT_EXCHANGE = "walt-console"
KEEP_S = 5
LOST_AFTER_S = 30  # a session not kept for so long is closed

DATA = "data"
RESIZE = "resize"
END_OF_INPUT = "end-of-input"
EXIT = "exit"
NOTICE = "notice"


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


def input_key(host: str) -> str:
    return f"input.{host}"


@dataclass(frozen=True)
class Opened:
    """offset: position in the line from which bytes will come (0 for shells)."""

    session: str
    offset: int


@dataclass(frozen=True)
class Line:
    """Unix stream socket on which the line listens (raw bytes both ways), and the append-only file that qemu
    keeps of all it wrote (`logfile=`, `logappend=on`), from which nothing is lost while console is away."""

    socket: str
    log: str
