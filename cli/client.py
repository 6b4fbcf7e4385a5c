"""The only AMQP user of the command line: nameko's small RPC protocol, and raw messages for sessions.

    client.call("nodes", "get_nodes", selection="my-nodes")     the result, or the service's own error
    client.start(…) -> Call, client.drain(…)                    the same without waiting, for loops of one's own
    client.open_mailbox() -> Mailbox, client.post(…)            raw messages from and to a session

On py-amqp, the transport of kombu: half of kombu's import time would be for serializers that nobody here uses.
It is imported by the first call, so that `walt --help` does not pay for it.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from cli.configuration import Configuration, load_configuration
from services.contracts.errors import Denied, Failed, Unreachable, WaltError, from_wire

RPC_EXCHANGE = "nameko-rpc"
CONNECT_TIMEOUT_S = 5
CALL_TIMEOUT_S = 20.0
GOODBYE_S = 2.0
SHORT_S = 0.001

OTHER_VERSION = ("MethodNotFound", "IncorrectSignature")  # nameko's words
PREFETCH = 64  # messages of one mailbox that the broker sends ahead


class Call:
    """One request on its way."""

    def __init__(self, service: str, method: str) -> None:
        self.service = service
        self.method = method
        self.done = False
        self._result: Any = None
        self._error: WaltError | None = None

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def answer(self, reply: dict[str, Any]) -> None:
        error = reply.get("error")
        if error and error.get("exc_type") in OTHER_VERSION:
            self._error = Failed(f"this walt and service {self.service} are of different versions: {error['value']}")
        elif error:
            self._error = from_wire(error.get("exc_type", ""), error.get("exc_args") or [error.get("value", "")])
        self._result = reply.get("result")
        self.done = True

    def fail(self, error: WaltError) -> None:
        self._error, self.done = error, True


class Mailbox:
    """A queue of our own, gone with the connection, to which one session sends.

    A message that is not taken holds back those after it, at the broker and then at the sender: a slow reader of one
    session fills no memory, and makes no other wait.
    """

    def __init__(self, acknowledge: Callable[[Any], None]) -> None:
        self.name = ""
        self._acknowledge = acknowledge
        self._messages: deque[Any] = deque()

    def put(self, message: Any) -> None:
        self._messages.append(message)

    def take(self) -> tuple[dict[str, Any], bytes] | None:
        """Headers and body of the next message, if there is one."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._acknowledge(message)
        return message.headers, message.body


class Client:
    """A connection in the name of the configured user, made at the first call and again after a loss."""

    def __init__(self, load: Callable[[], Configuration] = load_configuration) -> None:
        self._load = load
        self._configuration: Configuration | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._replies = ""
        self._calls: dict[str, Call] = {}

    @property
    def configuration(self) -> Configuration:
        if self._configuration is None:
            self._configuration = self._load()
        return self._configuration

    def call(self, service: str, method: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: Any) -> Any:
        call = self.start(service, method, timeout_s=timeout_s, **arguments)
        end = time.monotonic() + timeout_s
        while not call.done:
            left = end - time.monotonic()
            if left <= 0:
                self.close()  # it may lead nowhere, after a sleep of this computer, say: the next call makes a new one
                raise Unreachable(f"service {service} does not answer: no reply to {method} within {timeout_s:g} s")
            self.drain(left)
        return call.result()

    def start(self, service: str, method: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: Any) -> Call:
        """Send the request. It expires with our patience: a service that comes back later must not obey it."""
        self._connect()
        call, correlation_id = Call(service, method), uuid.uuid4().hex
        self._calls[correlation_id] = call
        self._publish(
            json.dumps({"args": [], "kwargs": arguments}),
            RPC_EXCHANGE,
            f"{service}.{method}",
            content_type="application/json",
            content_encoding="utf-8",
            reply_to=self._replies,
            correlation_id=correlation_id,
            expiration=str(round(timeout_s * 1000)),
            delivery_mode=2,
        )
        return call

    def drain(self, timeout_s: float) -> None:
        """Handle what has arrived; with nothing there, wait for one message up to timeout_s."""
        with self._errors():
            try:
                self._connection.drain_events(timeout=max(timeout_s, SHORT_S))
                while self._is_deciphered():
                    self._connection.drain_events(timeout=SHORT_S)
            except TimeoutError:
                return

    def fileno(self) -> int | None:
        """To select on; None without a connection."""
        return None if self._connection is None else self._connection.sock.fileno()

    def _is_deciphered(self) -> bool:
        """Whether TLS holds more of what has arrived: whoever selects on the socket would not learn of it."""
        return self._connection is not None and self.configuration.tls and self._connection.sock.pending() > 0

    def open_mailbox(self) -> Mailbox:
        self._connect()
        mailbox = Mailbox(self._acknowledge)
        with self._errors():
            mailbox.name = self._listen("console.", mailbox.put, no_ack=False)
        return mailbox

    def close_mailbox(self, mailbox: Mailbox) -> None:
        """For who opens many; the others go with the connection."""
        if self._connection is not None:
            with self._errors():
                self._channel.basic_cancel(mailbox.name)

    def post(self, exchange: str, routing_key: str, headers: dict[str, Any], body: bytes) -> None:
        """One raw message to a session. That nobody was there to take it is told by the next `drain`: Unreachable."""
        self._connect()
        self._publish(body, exchange, routing_key, application_headers=headers, content_type="application/octet-stream")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._calls.clear()
        if connection is not None:
            with contextlib.suppress(Exception):  # it is lost already, or we are leaving
                connection.sock.settimeout(GOODBYE_S)
                connection.close()

    def _connect(self) -> None:
        if self._connection is not None:
            return
        from amqp import Connection

        where = self.configuration
        connection = Connection(
            where.broker,
            userid=where.user,
            password=where.password,
            virtual_host=where.vhost,
            connect_timeout=CONNECT_TIMEOUT_S,
            ssl=_tls(where) if where.tls else False,
        )
        with self._errors():
            connection.connect()
            connection.sock.settimeout(CALL_TIMEOUT_S)  # where no other limit is given
            self._connection = connection
            self._channel = connection.channel()
            self._channel.auto_decode = False  # bodies are bytes, whatever they call themselves
            self._channel.basic_qos(0, PREFETCH, False)
            self._channel.events["basic_return"].add(self._on_return)
            self._replies = self._listen("", self._on_reply, no_ack=True)
            self._channel.queue_bind(self._replies, RPC_EXCHANGE, self._replies)

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
        if exchange != RPC_EXCHANGE:  # of `post`: `drain` tells it
            raise Unreachable("the console service is not running: what was sent to it is lost")
        call = self._calls.pop(message.properties.get("correlation_id", ""), None)
        if call is not None:
            call.fail(Unreachable(f"service {call.service} does not answer: it is not running"))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong below, as one sentence. The connection is given up: a closed channel is of no use."""
        from amqp.exceptions import AccessRefused, AMQPError, ChannelError, NotAllowed

        where = self.configuration
        try:
            yield
        except (AccessRefused, NotAllowed) as error:
            connected = self._connection is not None
            self.close()
            reason = str(error.reply_text).removeprefix("ACCESS_REFUSED - ")
            if connected:
                raise Denied(f"{where.user} may not do this, or the platform is too old for it: {reason}") from error
            raise Denied(
                f"the broker at {where.broker} refuses the login of {where.user} (from {where.source}): {reason}"
            ) from error
        except ChannelError as error:
            self.close()
            raise Failed(f"the broker at {where.broker} refuses a message: {_said(error)}") from error
        except (OSError, AMQPError) as error:
            self.close()
            raise Unreachable(f"the broker at {where.broker} does not answer: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What went wrong, without the numbers that libraries give it."""
    return str(getattr(error, "reply_text", None) or getattr(error, "strerror", None) or error)


def _tls(where: Configuration) -> dict[str, Any]:
    """py-amqp's words for: only to a broker whose certificate is good, and for this host."""
    return {"context": {"cadata": where.ca, "check_hostname": True}, "server_hostname": where.host}
