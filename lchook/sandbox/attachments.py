"""Fetches what customers send, as DMS does: from outside, without cookies, at once. In threads of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from lchook.sandbox.wire import Wire

_SECONDS = 20.0
_MAX_BYTES = 100_000_000
_MAX_AT_ONCE = 8
_KEPT = 100


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a link in a customer's message led to. `status` is None where there was no answer."""

    customer_id: str
    url: str
    status: int | None
    content_type: str = ""
    disposition: str = ""
    size: int = 0


class Attachments:
    """What was fetched is in `fetched`, the oldest first."""

    def __init__(self, wire: Wire) -> None:
        self.fetched: deque[Fetched] = deque(maxlen=_KEPT)
        self._wire = wire
        self._room = threading.BoundedSemaphore(_MAX_AT_ONCE)

    def fetch(self, message: dict[str, Any], then: Callable[[], None]) -> None:
        """Fetch what a message names, and then do something else."""
        urls = [one["url"] for one in message.get("attachments", ()) if isinstance(one, dict)]
        customer_id = str(message.get("customer_id", ""))

        def run() -> None:
            for url in urls:
                self._fetch(customer_id, url)
            then()

        threading.Thread(target=run, name="sandbox-attachments", daemon=True).start()

    def _fetch(self, customer_id: str, url: str) -> None:
        started, problem, found = time.perf_counter(), None, Fetched(customer_id, url, None)
        try:
            with self._room, requests.get(url, stream=True, timeout=_SECONDS) as answer:
                size = 0
                for piece in answer.iter_content(65_536):
                    size += len(piece)
                    if size > _MAX_BYTES:
                        break
                kind, disposition = (answer.headers.get(name, "") for name in ("Content-Type", "Content-Disposition"))
                found = Fetched(customer_id, url, answer.status_code, kind, disposition, size)
        except (requests.RequestException, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        self.fetched.append(found)
        self._wire.add(
            direction="to_dms",
            customer_id=customer_id,
            type_="attachment",
            method="GET",
            url=url,
            status=found.status,
            duration_seconds=time.perf_counter() - started,
            request_headers={},
            request_body=None,
            response_body=f"({found.size} bytes, {found.content_type or 'of no type'})" if found.status else None,
            error=problem,
        )
