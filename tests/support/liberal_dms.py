"""A DMS over real HTTP that takes whatever is JSON, remembers it, and answers as a test says. It checks nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import wait_until


class LiberalDms:
    """On a free port of 127.0.0.1, as a context manager."""

    def __init__(self) -> None:
        # Each post's JSON, in the order in which they came in; and the status that each is answered with.
        self.bodies: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], int] = lambda body: 200
        dms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                dms.bodies.append(body)
                self.send_response(dms.answer(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing to say."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/dms"

    def of(self, customer_id: object) -> list[dict[str, Any]]:
        """What came in of one customer."""
        return [body for body in list(self.bodies) if body.get("customer_id") == customer_id]

    def wait_for(self, customer_id: object, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.of(customer_id)) >= count, lambda: f"{count} posts, not {self.of(customer_id)}")
        return self.of(customer_id)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
