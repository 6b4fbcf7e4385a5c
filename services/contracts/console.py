"""console@HOST: serial lines and shell sessions of one host, multiplexed.

Public RPC (users; the caller is who the broker says):
  open_line(node, queue, read_only=False, offset=None, follow=True) -> Opened    watch (and drive) the serial console;
                                                            offset: from there on (0: all that is kept), None: the last power-on;
                                                            follow=False: what there is so far, then EXIT "0"
  open_shell(node, queue, command=None, terminal=None) -> Opened    log in; terminal {"term", "rows", "columns"} for a pty;
                                                            command: list of words (joined by space, as ssh does), None for a shell;
                                                            one that is cut off gets SIGHUP in the guest, terminal or not
  open_ping(node, queue, count=10) -> Opened          ping the node from the server; its words come as DATA, its status by EXIT
  open_forward(node, port, queue) -> Opened           one TCP connection to a port of the node; END_OF_INPUT either way ends that
                                                            direction; EXIT "0" once both have ended, NOTICE and EXIT "1" when it is refused or broken
  keep_session(session) | close_session(session)            keep: once every KEEP_S; NotFound when it is gone
Internal RPC:
  prepare_line(node_id, name, owner=None) -> Line     the line listens; marks a power-on in the scrollback; what it showed
                                          under another owner is shown no more   diagnose() -> [Check]
  run_command(node_id, command, timeout_s) -> CommandEnd    as root in the guest, over ssh; command: list of words;
                                          Failed when it cannot be reached, or has not ended within timeout_s (it is killed)
Hears: nodes NODE_WANTED (a new owner ends the sessions that were allowed under the former one), NODE_REMOVED

Bytes are raw AMQP messages, in order, never RPC:
  to the viewer    default exchange, routing key = its queue `user.NAME.…` (exclusive, declared by the client)
  from the viewer  exchange INPUT_EXCHANGE (topic), routing key input_key(host)
Headers of both: `session` and `kind` (DATA, RESIZE, END_OF_INPUT, EXIT, NOTICE, TAKEN); body = bytes.
  RESIZE body: "ROWS COLUMNS";  EXIT body: exit status as text;  NOTICE body: a sentence for stderr
  END_OF_INPUT: no more input;  DATA to the viewer carries header `offset` (position in the line after it),
  and header `stream` ("out" or "err", for commands without a terminal).
  TAKEN body: how many bytes of input (DATA) of this session have been taken so far, told every TAKEN_STEP bytes;
  a client that sends bulk (a file on standard input) keeps at most INPUT_WINDOW bytes ahead of it. A session that
  is MAX_INPUT_WAITING ahead is closed with a NOTICE. A client ignores kinds that it does not know.
An input message whose broker-checked user_id is not the session's user is dropped and logged.

After console was restarted its sessions are gone (keep_session: NotFound): the client opens the line again with
offset = the last one it got, drops what still comes for the old session, and has lost and doubled nothing.

Who writes to a line: each appends to `log`, which is the line's only record; see `Line`.
  qemu       `-chardev stdio,id=line,signal=off -serial chardev:line`, started with standard output = `log` opened
             O_WRONLY|O_APPEND and standard input = the FIFO `input` opened O_RDWR (so that it never sees an end).
             Not `-chardev socket,logfile=`: whenever that socket is full or goes away, qemu logs the byte again when
             it tries again (7.2, chardev/char.c), and the line gets doubled bytes.
  vmrunner   connects to `socket`: its bytes are appended to `log`; or, while console is away, appends to `log` itself
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
TAKEN = "taken"

TAKEN_STEP = 65_536
INPUT_WINDOW = 262_144
MAX_INPUT_WAITING = 1_048_576

MAX_SESSIONS_PER_USER = 200  # of one host
COMMAND_OUTPUT_CHARS = 4000


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
    """socket: unix stream, for our own words on the line. log: the append-only file of all that was ever written to
    the line, from which nothing is lost while console is away; never truncate it. input: FIFO of the input."""

    socket: str
    log: str
    input: str


@dataclass(frozen=True)
class CommandEnd:
    """output: the last COMMAND_OUTPUT_CHARS of what it said, both streams."""

    status: int
    output: str
