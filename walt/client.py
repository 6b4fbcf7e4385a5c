"""The AMQP client: nameko's RPC protocol, and raw messages from and to console sessions.

    client.call("nodes", "get_nodes", selection="my-nodes")     the result, or the service's own error
    client.start(…) -> Call, client.drain(…)                    the same without waiting, for event loops
    client.open_mailbox() -> Mailbox, client.post(…)            raw messages from and to a session

Based on py-amqp, the transport of kombu: half of kombu's import time is for serializers that are not needed here. It is
imported at the first call, so that `walt --help` does not pay for it.
"""

from __future__ import annotations

import contextlib
import json
import select
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from walt.configuration import Configuration, load_configuration
from walt.contracts.broker_permissions import EXPIRES_AFTER, MAX_REQUEST_BYTES, RPC_EXCHANGE
from walt.contracts.console import INPUT_EXCHANGE
from walt.contracts.errors import Denied, Failed, InvalidRequest, Unreachable, WaltError, from_wire

NOBODY = "input.-"  # no host has such a name
CONNECT_TIMEOUT_S = 5
CALL_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 2.0
MIN_TIMEOUT_S = 0.001
AGAIN_AFTER_S = 0.3
REMEMBERING = "nodes"  # it knows a call that comes again, also after it was restarted

OTHER_VERSION = (
    "MethodNotFound",
    "IncorrectSignature",
    "UnknownArgument",
)  # names of errors: nameko's, and that of walt.contracts
PREFETCH = 64  # messages of one mailbox that the broker sends ahead


class _ConnectionLost(Unreachable):
    """What was sent may have been obeyed, or may be obeyed yet."""


class Call:
    """A request that was sent, and its reply once that has arrived.

    call = client.start("nodes", "get_nodes", selection="my-nodes")
    while not call.done:
        client.drain(1.0)
    rows = call.result()
    """

    def __init__(self, service: str, method: str) -> None:
        self.service = service
        self.method = method
        self.done = False
        self._result: Any = None
        self._error: WaltError | None = None

    def result(self) -> Any:
        """What the method returned, as plain JSON values; or the WaltError that it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def answer(self, reply: dict[str, Any]) -> None:
        """By the client: the reply has arrived, in nameko's form."""
        error = reply.get("error")
        if error and error.get("exc_type") in OTHER_VERSION:
            self._error = Failed(f"this walt and service {self.service} are of different versions: {error['value']}")
        elif error:
            self._error = from_wire(error.get("exc_type", ""), error.get("exc_args") or [error.get("value", "")])
        self._result = reply.get("result")
        self.done = True

    def fail(self, error: WaltError) -> None:
        """By the client: there will be no reply."""
        self._error, self.done = error, True


class Mailbox:
    """A queue of this connection, to which one session sends its output.

        mailbox = client.open_mailbox()
        opened = client.call("console@lab1", "open_line", node="vnode1", queue=mailbox.name)
        while not (message := mailbox.take()):
            client.drain(1.0)
        headers, body = message

    Messages that are not taken stay at the broker, which finally throttles the sender: a slow reader of one session
    neither fills memory nor delays other sessions.
    """

    def __init__(self, acknowledge: Callable[[Any], None]) -> None:
        self.name = ""
        self._acknowledge = acknowledge
        self._messages: deque[Any] = deque()

    def put(self, message: Any) -> None:
        """By the client: a message has arrived."""
        self._messages.append(message)

    def take(self) -> tuple[dict[str, Any], bytes] | None:
        """Headers and body of the next message, if there is one."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._acknowledge(message)
        return message.headers, message.body


class Client:
    """A connection to the platform as the configured user. It is opened by the first call, and again after a loss.

        with Client() as client:
            rows = client.call("nodes", "get_nodes", selection="my-nodes")

    load: returns the configuration, by default that of client.toml; another one:

        Client(lambda: parse_configuration('amqp_uri = "amqp://ada:secret@lab1:5672//"', Path("mine")))

    exchange: where its calls go; services have one of their own.

    Not for several threads at a time.
    """

    def __init__(self, load: Callable[[], Configuration] = load_configuration, *, exchange: str = RPC_EXCHANGE) -> None:
        self._load = load
        self._exchange = exchange
        self._configuration: Configuration | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._replies = ""
        self._calls: dict[str, Call] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def configuration(self) -> Configuration:
        """Read at the first use."""
        if self._configuration is None:
            self._configuration = self._load()
        return self._configuration

    def call(self, service: str, method: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: Any) -> Any:
        """The result of a method, as plain JSON values (`read` makes dataclasses of them).

            client.call("nodes", "reboot_nodes", selection="vnode1,vnode2", timeout_s=5)

        Raises the error of the service, or Unreachable without a reply within timeout_s. When the connection is lost
        meanwhile, a call of nodes, which obeys each command once, is sent again.
        """
        end, key = time.monotonic() + timeout_s, uuid.uuid4().hex
        call = self._start(service, method, key, timeout_s, arguments)
        while not call.done:
            left = end - time.monotonic()
            if left <= 0:
                self.close()  # it may be dead, for instance after a suspend of this computer
                raise Unreachable(f"service {service} does not answer: no reply to {method} within {timeout_s:g} s")
            try:
                self.drain(left)
            except _ConnectionLost:
                if service != REMEMBERING:
                    raise
                call = self._start_again(service, method, key, end, arguments)
        return call.result()

    def _start_again(self, service: str, method: str, key: str, end: float, arguments: dict[str, Any]) -> Call:
        """As soon as the broker is there again, until the end (monotonic)."""
        while True:
            left = max(end - time.monotonic(), MIN_TIMEOUT_S)
            try:
                return self._start(service, method, key, left, arguments)
            except _ConnectionLost:
                if left < AGAIN_AFTER_S:
                    raise
                time.sleep(AGAIN_AFTER_S)

    def start(self, service: str, method: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: Any) -> Call:
        """Send a request without waiting for its reply. It expires after timeout_s: no service obeys it later.
        Unreachable, and nothing is sent, while the broker is in an alarm (its disk or memory is full)."""
        return self._start(service, method, uuid.uuid4().hex, timeout_s, arguments)

    def _start(self, service: str, method: str, key: str, timeout_s: float, arguments: dict[str, Any]) -> Call:
        """key: of this call; the same when it is sent again."""
        self._connect()
        self._take_news()
        request = json.dumps({"args": [], "kwargs": arguments})
        if len(request) > MAX_REQUEST_BYTES and self._exchange == RPC_EXCHANGE:
            raise InvalidRequest(f"the request {method} has {len(request)} bytes; allowed: {MAX_REQUEST_BYTES}")
        call, correlation_id = Call(service, method), uuid.uuid4().hex
        self._calls[correlation_id] = call
        self._publish(
            request,
            self._exchange,
            f"{service}.{method}",
            content_type="application/json",
            content_encoding="utf-8",
            reply_to=self._replies,
            correlation_id=correlation_id,
            message_id=key,
            expiration=str(round(timeout_s * 1000 * EXPIRES_AFTER)),
            delivery_mode=2,
        )
        return call

    def drain(self, timeout_s: float) -> None:
        """Process what has arrived; if nothing has, wait up to timeout_s for a message."""
        with self._errors():
            try:
                self._connection.drain_events(timeout=max(timeout_s, MIN_TIMEOUT_S))
                while self._has_decrypted():
                    self._connection.drain_events(timeout=MIN_TIMEOUT_S)
            except TimeoutError:
                return

    def _take_news(self) -> None:
        """Learn of an alarm that has begun since the connection was last read, before anything is sent into it."""
        while self._connection is not None and select.select([self._connection.sock], [], [], 0)[0]:
            self.drain(0)
        self._connect()

    def fileno(self) -> int | None:
        """The socket, for select; None without a connection."""
        return None if self._connection is None else self._connection.sock.fileno()

    def _has_decrypted(self) -> bool:
        """Whether TLS has decrypted more than was read: select on the socket does not tell."""
        return self._connection is not None and self.configuration.tls and self._connection.sock.pending() > 0

    def open_mailbox(self) -> Mailbox:
        """A new queue, for the output of one session."""
        self._connect()
        mailbox = Mailbox(self._acknowledge)
        with self._errors():
            mailbox.name = self._listen("console.", mailbox.put, no_ack=False)
        return mailbox

    def close_mailbox(self, mailbox: Mailbox) -> None:
        """Stop receiving. Needed only by who opens many: all are closed with the connection."""
        if self._connection is not None:
            with self._errors():
                self._channel.basic_cancel(mailbox.name)

    def post(self, exchange: str, routing_key: str, headers: dict[str, Any], body: bytes) -> None:
        """Send one raw message to a session. The next `drain` raises Unreachable if its service is not running."""
        self._connect()
        self._publish(body, exchange, routing_key, application_headers=headers, content_type="application/octet-stream")

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        connection, self._connection = self._connection, None
        self._calls.clear()
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be lost already
                connection.sock.settimeout(CLOSE_TIMEOUT_S)
                connection.close()

    def _connect(self) -> None:
        if self._connection is not None:
            return
        from amqp import Connection, Message

        config = self.configuration
        connection = Connection(
            config.broker,
            userid=config.user,
            password=config.password,
            virtual_host=config.vhost,
            connect_timeout=CONNECT_TIMEOUT_S,
            ssl=_tls(config) if config.tls else False,
        )
        with self._errors():
            connection.connect()
            connection.sock.settimeout(CALL_TIMEOUT_S)  # for operations without a limit of their own
            self._connection = connection
            self._channel = connection.channel()
            self._channel.auto_decode = False  # bodies stay bytes, whatever their declared encoding
            _hear_alarms(connection, self._on_blocked)
            self._channel.basic_qos(0, PREFETCH, False)
            self._channel.events["basic_return"].add(self._on_return)
            self._replies = self._listen("", self._on_reply, no_ack=True)
            # The broker blocks who publishes in an alarm, and tells him so, only after his first message. The bind is
            # answered if there is no alarm.
            self._channel.basic_publish(Message(b"", user_id=config.user), INPUT_EXCHANGE, NOBODY)
            self._channel.queue_bind(self._replies, RPC_EXCHANGE, self._replies)

    def _on_blocked(self, reason: str) -> None:
        """The broker is in an alarm: it reads nothing of this connection any more, and no service can reply. What was
        sent before is not obeyed either once the connection is gone, except by who has it already."""
        connection, self._connection = self._connection, None
        methods = ", ".join(sorted({call.method for call in self._calls.values()}))
        self._calls.clear()
        if connection is not None:
            connection.collect()  # without words: nobody would read them
        known = f"; whether it has done {methods} is not known" if methods else "; nothing was done"
        raise Unreachable(f"the platform takes no commands, since its broker is {reason}{known}")

    def _listen(self, kind: str, callback: Callable[[Any], None], *, no_ack: bool) -> str:
        name = f"user.{self.configuration.user}.{kind}{uuid.uuid4().hex}"
        self._channel.queue_declare(name, exclusive=True, auto_delete=True)
        self._channel.basic_consume(name, name, no_ack=no_ack, callback=callback)
        return name

    def _publish(self, body: str | bytes, exchange: str, routing_key: str, **properties: Any) -> None:
        from amqp import Message

        message = Message(body, user_id=self.configuration.user, **properties)
        with self._errors():
            self._channel.basic_publish(message, exchange, routing_key, mandatory=True)

    def _acknowledge(self, message: Any) -> None:
        if self._connection is not None and message.channel is self._channel:
            with self._errors():
                self._channel.basic_ack(message.delivery_tag)

    def _on_reply(self, message: Any) -> None:
        call = self._calls.pop(message.properties.get("correlation_id", ""), None)
        if call is not None:
            call.answer(json.loads(message.body))

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        if exchange != self._exchange:  # sent by `post`
            raise Unreachable("the console service is not running: what was sent to it is lost")
        call = self._calls.pop(message.properties.get("correlation_id", ""), None)
        if call is not None:
            call.fail(Unreachable(f"service {call.service} does not answer: it is not running"))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate errors of py-amqp into ours, and drop the connection: a closed channel is useless."""
        from amqp.exceptions import AccessRefused, AMQPError, ChannelError, NotAllowed

        config = self.configuration
        try:
            yield
        except (AccessRefused, NotAllowed) as error:
            connected = self._connection is not None
            self.close()
            reason = str(error.reply_text).removeprefix("ACCESS_REFUSED - ")
            if connected:
                raise Denied(f"{config.user} may not do this, or the platform is too old for it: {reason}") from error
            raise Denied(
                f"the broker at {config.broker} refuses the login of {config.user} (from {config.source}): {reason}"
            ) from error
        except ChannelError as error:
            self.close()
            raise Failed(f"the broker at {config.broker} refuses a message: {_reason(error)}") from error
        except (OSError, AMQPError) as error:
            self.close()
            raise _ConnectionLost(f"the broker at {config.broker} does not answer: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The text of an error, without the numbers that libraries add."""
    return str(getattr(error, "reply_text", None) or getattr(error, "strerror", None) or error)


def _hear_alarms(connection: Any, on_blocked: Callable[[str], None]) -> None:
    """on_blocked gets the broker's reason ("low on disk"), which py-amqp does not read by itself."""
    from amqp import spec

    blocked = spec.method(spec.Connection.Blocked, "s")
    connection._METHODS = {**connection._METHODS, spec.Connection.Blocked: blocked}
    connection._callbacks[spec.Connection.Blocked] = on_blocked


def _tls(config: Configuration) -> dict[str, Any]:
    """py-amqp's options for: only to a broker whose certificate is valid, and for this host."""
    return {"context": {"cadata": config.ca, "check_hostname": True}, "server_hostname": config.host}
