"""Posts webhooks: signed, a customer's in order and one at a time, with faults. Knows nothing of what they say."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from lchook.sandbox.faults import Faults
from lchook.sandbox.outgoing import Outgoing, outgoing_under
from lchook.sandbox.script import Step
from lchook.sandbox.tokens import DmsTokens
from lchook.sandbox.wire import Wire, shown_body

# A body that is sent in chunks comes in pieces of this size.
_CHUNK_BYTES = 100
_POOL_SIZE = 100
# What may wait for one customer, and how many customers may have something waiting.
MAX_WAITING = 200
MAX_CUSTOMERS = 2000

_Waiting = deque[tuple[Step, "Future[int | None]"]]


class OverloadedError(Exception):
    """More webhooks wait than the sandbox keeps. The text says which bound was met."""


class Webhooks:
    """Posts to `url`, which may be set later; until then nothing goes out."""

    def __init__(
        self,
        *,
        issuer: str,
        secret: str,
        clock: Callable[[], float],
        url: str | None,
        faults: Faults,
        wire: Wire,
        pace_seconds: float,
        timeout_seconds: float = 15.0,
    ) -> None:
        """Without network activity.

        :param pace_seconds: how long one beat of a script's pause is.
        :param timeout_seconds: for the connection and again for the answer.
        """
        self.url = url
        self._tokens = DmsTokens(issuer=issuer, secret=secret, clock=clock)
        self._wrong_tokens = DmsTokens(issuer=issuer, secret=f"not {secret}", clock=clock)
        self._faults = faults
        self._wire = wire
        self._pace_seconds = pace_seconds
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=2, pool_maxsize=_POOL_SIZE))
        self._waiting: dict[str, _Waiting] = {}
        self._workers: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def post(
        self,
        raw: bytes,
        *,
        customer_id: str = "",
        type_: str = "",
        token: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        slash: bool = False,
        chunked: bool = False,
        shown: object = None,
    ) -> requests.Response:
        """Post one webhook now, whatever else is waiting.

        :param token: instead of a freshly signed one.
        :param headers: over the usual ones; None leaves one out.
        :param slash: whether the address gets one at its end.
        :param chunked: without a Content-Length, in pieces.
        :param shown: what the wire log tells of the body, where that is not the body.
        :raises requests.RequestException: where there is no answer.
        """
        if self.url is None:
            raise RuntimeError("set webhook_url first")
        if token is None:
            token = self._tokens.sign()
        all_headers: dict[str, str | None] = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token}",
            "connection_id": self._tokens.issuer,
            **(headers or {}),
        }
        url = self.url.rstrip("/") + "/" if slash else self.url
        data: Any = _pieces(raw) if chunked else raw
        prepared = self._session.prepare_request(requests.Request("POST", url, headers=all_headers, data=data))
        started = time.perf_counter()
        status, response_body, problem = None, None, None
        try:
            response = self._session.send(prepared, timeout=self._timeout_seconds, allow_redirects=False)
            status, response_body = response.status_code, shown_body(response.content)
            return response
        except requests.RequestException as error:
            problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._wire.add(
                direction="to_customer",
                customer_id=customer_id,
                type_=type_,
                url=url,
                status=status,
                duration_seconds=time.perf_counter() - started,
                request_headers=prepared.headers,
                request_body=shown_body(raw) if shown is None else shown,
                response_body=response_body,
                error=problem,
            )

    def enqueue(self, customer_id: str, steps: Iterable[Step]) -> list[Future[int | None]]:
        """Let the customer's worker post these, after what already waits.

        Each future gives LCH's status, or None where there was none (no answer, or a fault kept the webhook back).

        :raises OverloadedError: and nothing is queued.
        """
        entries = [(step, Future[int | None]()) for step in steps]
        if not entries or self.url is None or self._closing.is_set():
            for _, outcome in entries:
                outcome.set_result(None)
            return [outcome for _, outcome in entries]
        with self._lock:
            waiting = self._waiting.get(customer_id)
            if waiting is None:
                if len(self._waiting) >= MAX_CUSTOMERS:
                    raise OverloadedError(f"webhooks of {MAX_CUSTOMERS} customers wait already")
                self._waiting[customer_id] = deque(entries)
                worker = threading.Thread(target=self._work, args=(customer_id,), name="sandbox-webhooks", daemon=True)
                self._workers.add(worker)
                worker.start()
            elif len(waiting) + len(entries) > MAX_WAITING:
                raise OverloadedError(f"{MAX_WAITING} webhooks of this customer wait already")
            else:
                waiting.extend(entries)
        return [outcome for _, outcome in entries]

    def close(self, *, timeout_seconds: float = 5.0) -> None:
        """Drop what waits, and let the workers finish what they are posting."""
        self._closing.set()
        with self._lock:
            workers = list(self._workers)
        deadline = time.monotonic() + timeout_seconds
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._session.close()

    def _work(self, customer_id: str) -> None:
        waiting = self._waiting[customer_id]
        late = False
        while True:
            with self._lock:
                if not waiting:
                    del self._waiting[customer_id]
                    self._workers.discard(threading.current_thread())
                    return
                # Out of order: of two that wait, the second goes first.
                late = not late and len(waiting) > 1 and self._faults.state.webhook == "out_of_order"
                if late:
                    waiting.rotate(-1)
                step, outcome = waiting.popleft()
                if late:
                    waiting.rotate(1)
            if not self._closing.wait(step.pause * self._pace_seconds):
                try:
                    outcome.set_result(self._post_with_faults(customer_id, step.body))
                except requests.RequestException:
                    # The wire log has it.
                    outcome.set_result(None)
                except Exception as error:
                    # Whatever it was, what waits behind it goes out.
                    self.log_dropped(customer_id, [step], f"{type(error).__name__}: {error}")
                    outcome.set_result(None)
            else:
                outcome.set_result(None)

    def log_dropped(self, customer_id: str, steps: Iterable[Step], problem: str) -> None:
        """Let the wire log show what did not go out."""
        for step in steps:
            self._log(customer_id, str(step.body.get("type", "")), step.body, error=f"not sent: {problem}")

    def _log(self, customer_id: str, type_: str, body: dict[str, Any], *, error: str) -> None:
        self._wire.add(
            direction="to_customer",
            customer_id=customer_id,
            type_=type_,
            url=self.url or "",
            status=None,
            duration_seconds=0.0,
            request_headers={},
            request_body=body,
            response_body=None,
            error=error,
        )

    def _post_with_faults(self, customer_id: str, body: dict[str, Any]) -> int | None:
        type_ = str(body.get("type", ""))
        state = self._faults.state
        if state.webhook == "silence":
            self._log(customer_id, type_, body, error="not sent: the fault 'silence' is in force")
            return None
        if state.webhook == "slow" and self._closing.wait(state.delay_seconds):
            return None
        tokens = self._wrong_tokens if state.webhook == "bad_signature" else self._tokens
        status = None
        for outgoing in outgoing_under(state.webhook, body):
            status = self._post_one(customer_id, outgoing, type_, tokens)
        return status

    def _post_one(self, customer_id: str, outgoing: Outgoing, type_: str, tokens: DmsTokens) -> int:
        return self.post(
            outgoing.raw,
            customer_id=customer_id,
            type_=type_,
            token=tokens.sign(clock_ahead_seconds=outgoing.clock_ahead_seconds),
            headers=outgoing.headers,
            slash=outgoing.slash,
            chunked=outgoing.chunked,
            shown=outgoing.shown,
        ).status_code


def _pieces(raw: bytes) -> Iterator[bytes]:
    for start in range(0, len(raw), _CHUNK_BYTES):
        yield raw[start : start + _CHUNK_BYTES]
