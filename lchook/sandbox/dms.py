"""SandboxDms: takes LCH's posts as DMS does, remembers them, and answers through the webhook. Knows nothing of the page."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import requests

from lchook.sandbox import posts
from lchook.sandbox.answers import BROKEN_IN_WORDS, give
from lchook.sandbox.bodies import CustomerId, webhook_body
from lchook.sandbox.faults import Answer, Faults, FaultState, answer_under
from lchook.sandbox.files import LINK_SECONDS, FileStorage
from lchook.sandbox.http_server import HOST, Exchange, HttpServer
from lchook.sandbox.inbox import Inbox, Predicate, Received
from lchook.sandbox.script import Script, Step
from lchook.sandbox.tokens import DmsTokens
from lchook.sandbox.webhooks import OverloadedError, Webhooks
from lchook.sandbox.wire import Wire, is_long, shown_body

_NO_JSON = object()


class SandboxDms:
    """A DMS on 127.0.0.1. As a context manager it starts and stops; it cannot be started again."""

    def __init__(
        self,
        *,
        issuer: str,
        secret: str,
        webhook_url: str | None = None,
        port: int = 0,
        scripted: bool = True,
        clock: Callable[[], float] = time.time,
        pace_seconds: float = 0.0,
        keep: int = 100_000,
        takes_unknown: bool = False,
    ) -> None:
        """Without network activity.

        :param webhook_url: may be set later, too.
        :param port: 0 for any free one.
        :param scripted: whether bot and agent answer what is accepted.
        :param clock: epoch seconds, for tokens and links, their age, and for `Date`.
        :param pace_seconds: how long bot and agent take to type a text.
        :param keep: how many posts are remembered in `received`.
        :param takes_unknown: takes types and fields beyond the contract, as a Pega that was taught more.
        """
        self.faults = Faults(on_change=self._apply)
        self.wire = Wire()
        # Decides about a message that is authentic and well formed; None (the hook, or its answer) for 200.
        self.answer: Callable[[dict[str, Any]], Answer | None] | None = None
        self.takes_unknown = takes_unknown
        # The blueprint tells it its address when it is first asked.
        self.files = FileStorage(clock=clock)
        self._clock = clock
        self._tokens = DmsTokens(issuer=issuer, secret=secret, clock=clock)
        self._script = Script() if scripted else None
        self._webhooks = Webhooks(
            issuer=issuer,
            secret=secret,
            clock=clock,
            url=webhook_url,
            faults=self.faults,
            wire=self.wire,
            pace_seconds=pace_seconds,
        )
        self._server = HttpServer(self._handle, port=port)
        self._stopping = threading.Event()
        self._inbox = Inbox(keep=keep)

    def start(self) -> Self:
        """:raises OSError: where the port is taken."""
        self._server.start()
        self._apply(self.faults.state)
        return self

    def stop(self) -> None:
        """Close the listener and all connections, drop webhooks that wait, and let readers of the wire log go."""
        self._stopping.set()
        self._server.stop()
        self._webhooks.close()
        self.wire.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What LCH's DMS_URL should be. Known from the start on."""
        if not self._server.port:
            raise RuntimeError("start the sandbox DMS first: it has no port yet")
        return f"http://{HOST}:{self._server.port}/dms"

    @property
    def webhook_url(self) -> str | None:
        """Where LCH takes webhooks. Nothing is sent as long as it is None."""
        return self._webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._webhooks.url = url

    # --- what came in ---

    @property
    def received(self) -> list[Received]:
        """All posts in the order in which they came in, accepted or not."""
        return self._inbox.received

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The bodies of those that were answered with 200, in the order in which they came in."""
        return self._inbox.accepted

    def clear(self) -> None:
        """Forget what was received, and start to count from 0."""
        self._inbox.clear()

    def wait_for(self, wanted: int | Predicate, timeout_seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until that many messages were accepted, or until one was whose body the predicate likes.

        Returns all accepted bodies, or those that the predicate likes.

        :raises NotReceivedError: an AssertionError and TimeoutError that says what came instead.
        """
        return self._inbox.wait_for(wanted, timeout_seconds)

    def wait_for_posts(self, count: int, timeout_seconds: float = 10.0) -> list[Received]:
        """Wait until that many posts came in, whatever became of them (some may still be without an answer).

        :raises NotReceivedError: as `wait_for`.
        """
        return self._inbox.wait_for_posts(count, timeout_seconds)

    # --- what goes out ---

    def send(
        self,
        customer_id: CustomerId,
        type_: str = "text",
        *,
        token: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        raw: bytes | None = None,
        **fields: Any,
    ) -> requests.Response:
        """Post one webhook now, past script and faults, and return LCH's answer.

        The body is the example for that type (see `bodies.webhook_body`) with a fresh message_id and `fields`.

        :param token: instead of a freshly signed one.
        :param headers: over the usual ones; None leaves one out.
        :param raw: the whole body, instead of one made from the rest.
        :raises requests.RequestException: where there is no answer.
        """
        if raw is None:
            raw = json.dumps(webhook_body(type_, customer_id, link=self._link, **fields)).encode()
        return self._webhooks.post(raw, customer_id=str(customer_id), type_=type_, token=token, headers=headers)

    def say(self, customer_id: CustomerId, kind: str, **fields: Any) -> Future[int | None]:
        """Let the agent say something, after what already waits for that customer, faults included.

        :param kind: one of `bodies.KINDS`.
        :returns: LCH's status, in time; None where there was none.
        :raises OverloadedError: where too much waits.
        """
        if kind == "csr_end_session" and self._script:
            self._script.forget(customer_id)
        body = webhook_body(kind, customer_id, link=self._link, **fields)
        return self._webhooks.enqueue(str(customer_id), [Step(body)])[0]

    # --- inside ---

    def _apply(self, state: FaultState) -> None:
        if state.dms == "refused":
            self._server.refuse()
        else:
            self._server.listen()

    def _handle(self, exchange: Exchange) -> None:
        """One post: 1. record it, 2. let the faults decide, else the checks, else the hook, 3. answer, as late as asked."""
        started = time.perf_counter()
        try:
            message = posts.strict_json(exchange.body)
        except ValueError:
            message = _NO_JSON
        received = Received(
            at=time.time(),
            method=exchange.method,
            path=exchange.path,
            headers=exchange.headers,
            body=message if isinstance(message, dict) else {},
            raw=exchange.body,
        )
        self._inbox.add(received)

        state = self.faults.take()
        answer = answer_under(state, moved_to=f"{self.url}/moved") or self._decide(exchange, message)
        if state.dms == "gateway":
            answer = dataclasses.replace(answer, coded=True)
        delay_seconds = answer.delay_seconds + (state.delay_seconds if state.dms == "slow" else 0.0)
        if delay_seconds:
            self._stopping.wait(delay_seconds)

        self._inbox.answered(received, None if answer.broken else answer.status)
        if received.status == 200:
            # Before the answer goes out: after it, this customer's next message could overtake.
            self._let_script_answer(received.body)
        response_body, problem = b"", BROKEN_IN_WORDS[answer.broken] if answer.broken else None
        try:
            response_body = give(exchange, answer, at=self._clock())
        except OSError as error:
            problem = f"the client had gone ({type(error).__name__})"
            exchange.hang_up()
        self.wire.add(
            direction="to_dms",
            customer_id=str(received.body.get("customer_id", "")),
            type_=str(received.body.get("type", "")),
            method=exchange.method,
            url=self.url,
            status=received.status,
            duration_seconds=time.perf_counter() - started,
            request_headers=exchange.headers,
            request_body=shown_body(exchange.body) if message is _NO_JSON or is_long(exchange.body) else message,
            response_body=shown_body(response_body) if response_body else None,
            error=problem,
        )

    def _decide(self, exchange: Exchange, message: Any) -> Answer:
        try:
            posts.check_method(exchange.method)
            posts.check_headers(exchange.headers, self._tokens)
            if message is _NO_JSON:
                raise posts.RefusedError(400, "the body must be JSON in UTF-8")
            posts.check_body(message, takes_unknown=self.takes_unknown)
        except posts.RefusedError as refused:
            headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
            return Answer(status=refused.status, headers=headers, body={"error": str(refused)})
        return (self.answer(message) if self.answer else None) or Answer()

    def _let_script_answer(self, message: dict[str, Any]) -> None:
        if self._script is None or self.webhook_url is None:
            return
        customer_id = str(message["customer_id"])
        steps = self._script.answers(message, link=self._link)
        try:
            self._webhooks.enqueue(customer_id, steps)
        except OverloadedError as overloaded:
            self._webhooks.log_dropped(customer_id, steps, str(overloaded))

    def _link(self, name: str) -> str:
        """The address of a file, for as long as is set; under the fault "dead_links" it is dead when it comes."""
        state = self.faults.state
        age_seconds = max(LINK_SECONDS, state.link_seconds) + 60 if state.webhook == "dead_links" else 0
        return self.files.link(name, lives_seconds=state.link_seconds, age_seconds=age_seconds)
