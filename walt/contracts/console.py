"""console@HOST: the serial lines of one host, and sessions on its nodes (shell, command, ping, forwarded port,
capture).

Public RPC; the caller is the account that the broker vouches for, and `queue` is a queue of that account:
  open_line(node, queue, read_only=False, offset=None, follow=True) -> OpenedSession
      Watch and drive the serial console. offset: where to start (0: all that is kept; None: the last power-on).
      follow=False: what there is now, then EXIT "0".
  open_shell(node, queue, command=None, terminal=None) -> OpenedSession
      Log in as root. command: list of words, joined by spaces as ssh does; None for a login shell.
      terminal: {"term", "rows", "columns"} for a pty. When the session ends, what runs in the guest gets SIGHUP.
  open_ping(node, queue, count=10) -> OpenedSession
      Ping the node from the server; the output of ping comes as DATA, its status as EXIT.
  open_forward(node, port, queue) -> OpenedSession
      One TCP connection to a port of the node. END_OF_INPUT, from either side, ends that direction. EXIT "0" when both
      have ended; NOTICE and EXIT "1" when the connection is refused or reset.
  open_capture(node, network, queue, expression="", count=0) -> OpenedSession
      The frames of one port of the node, as DATA: whole blocks of a pcapng file, in their order. expression: a filter
      of tcpdump. END_OF_INPUT asks for the end of the file; it comes by itself after `count` frames (0: never). A
      NOTICE tells how many frames were captured, and how many were not, as the client or the host was too slow. EXIT
      "0", or "1" when the port is gone.
  keep_session(session), close_session(session)
      A session is a lease of SESSION_LEASE_S, renewed by keep_session every LEASE_RENEW_S; NotFound when it is gone.
Internal RPC:
  prepare_line(node_id, name, owner=None, owner_account="") -> LinePaths
      The line is open, and a power-on is recorded in it; what it showed under another owner is hidden from now on.
  run_command(node_id, command, timeout_s) -> CommandResult
      Run a list of words as root in the guest, over ssh. Failed if the guest cannot be reached, or if the command has
      not ended within timeout_s (it is killed).
  diagnose() -> [Check]
Hears: nodes NODE_WANTED (a new owner ends the sessions that were authorized under the former one), NODE_REMOVED

The bytes of a session are AMQP messages of their own, in order, never RPC:
  to the user    default exchange, routing key = the queue `user.NAME.…` (exclusive, declared by the client)
  from the user  exchange INPUT_EXCHANGE (topic), routing key `input_key` of the OpenedSession: one for all sessions
                 of a user, which nobody else knows. It leads to a queue of his own: what he sends delays nobody else
Headers of both: `session` and `kind`; the body is bytes.
  DATA          to the user with the header `offset` (position in the line after the body; viewers of a line only), and
                the header `stream` ("out" or "err"; programs only)
  RESIZE        b"ROWS COLUMNS", the new size of the user's terminal
  END_OF_INPUT  no more input
  EXIT          the exit status as text; the session has ended. EXIT_SESSION_LOST if the platform ended it, or if ssh
                did not reach the node: a NOTICE before it says why
  NOTICE        a sentence for standard error
  TAKEN         how many bytes of input (DATA) of this session have been taken so far, sent every TAKEN_STEP bytes and
                when no input waits. A client that sends bulk (a file on standard input) keeps at most INPUT_WINDOW
                bytes, in INPUT_WINDOW_MESSAGES messages, ahead of it. A session that is MAX_INPUT_WAITING ahead is
                closed with a NOTICE; what does not fit into the queue of its user is lost.
A client ignores kinds that it does not know. An input message is dropped and logged if its user_id, which the broker
checks, is not the user of the session.

Sessions end with the process of console (keep_session: NotFound). A client then opens the line again with offset = the
last one that it got, drops what still comes for the old session, and has lost and doubled no output. Input that was
sent and not TAKEN may or may not have reached the line: the client tells its user how much that is.

Who writes to a line: each process appends to `log`, the only record of the line; see `LinePaths`.
  qemu      `-chardev stdio,id=line,signal=off -serial chardev:line`, started with standard output = `log` opened
            O_WRONLY|O_APPEND and standard input = the FIFO `input` opened O_RDWR (so that it never sees an end).
            Not `-chardev socket,logfile=`: whenever that socket is full or goes away, qemu logs the byte again when
            it tries again (7.2, chardev/char.c), and the line gets doubled bytes.
  vmrunner  connects to `socket`: its bytes are appended to `log`; while console is away it appends to `log` itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.agent_names import on_host

SERVICE = "console"

INPUT_EXCHANGE = "walt-console"
LEASE_RENEW_S = 5  # how often a client calls keep_session
SESSION_LEASE_S = 30  # a session whose lease is not renewed for so long is closed

DATA = "data"
RESIZE = "resize"
END_OF_INPUT = "end-of-input"
EXIT = "exit"
NOTICE = "notice"
TAKEN = "taken"

TAKEN_STEP = 65_536
INPUT_WINDOW = 262_144
INPUT_WINDOW_MESSAGES = 100
MAX_INPUT_WAITING = 1_048_576

MAX_SESSIONS_PER_USER = 200  # of one host
MAX_CAPTURES_PER_USER = 8  # of these
COMMAND_OUTPUT_CHARS = 4000
SSH_LOST = 255  # the status of ssh itself


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


def input_key(host: str, secret: str = "") -> str:
    """secret: 32 hexadecimal digits; without it the key of a console of an earlier version."""
    return f"input.{host}.{secret}" if secret else f"input.{host}"


@dataclass(frozen=True)
class OpenedSession:
    """offset: position in the line of the first byte that will come (0 if the session is not a viewer).
    live_from: bytes before this position are replay; the client must not answer terminal queries in them.
    input_key: routing key of what the user sends.
    """

    session: str
    offset: int
    live_from: int = 0
    input_key: str = ""


@dataclass(frozen=True)
class LinePaths:
    """How other processes of the host write to a line.

    socket: a Unix stream socket; what is written to it is appended to the recording.
    log: the recording, an append-only file; written to directly while console is away; never truncate it.
    input: the FIFO from which the VM reads its input.
    """

    socket: str
    log: str
    input: str


@dataclass(frozen=True)
class CommandResult:
    """status: as a shell counts it. output: the last COMMAND_OUTPUT_CHARS of standard output and error together."""

    status: int
    output: str

    @property
    def is_lost(self) -> bool:
        """The guest closed the connection, as one that shuts down may."""
        return self.status == SSH_LOST
