"""An application under test: its chat clients, its webhook, and the DMS behind it."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from lchook.sandbox.dms import SandboxDms
from tests.support.clients import text_message
from tests.support.jwts import mint
from tests.support.waiting import wait_until


class AppClient:
    """The Flask-SocketIO test client: acknowledgements from LCH come at once, those to LCH do not exist."""

    def __init__(self, app: Flask, **options: Any) -> None:
        self._client = app.extensions["socketio"].test_client(app, **options)
        self._came: list[dict[str, Any]] = []

    def call(self, event: str, *args: Any) -> Any:
        """Send an event and return its acknowledgement."""
        return self._client.emit(event, *args, callback=True)

    def send_without_callback(self, event: str, *args: Any) -> None:
        self._client.emit(event, *args)

    def say(self, customer_id: str, text: str = "Hello", **fields: Any) -> Any:
        return self.call("clientMessage", text_message(customer_id, text, **fields))

    def events(self, name: str) -> list[list[Any]]:
        """The arguments of each event of that name that came up to now."""
        self._came += self._client.get_received()
        return [event["args"] for event in self._came if event["name"] == name]

    @property
    def messages(self) -> list[Any]:
        return [args[0] for args in self.events("serverMessage")]

    def wait_for_messages(self, count: int) -> list[Any]:
        wait_until(lambda: len(self.messages) >= count, lambda: f"{count} serverMessages, not {self.messages}")
        return self.messages

    @property
    def errors(self) -> list[list[Any]]:
        return self.events("serverError")

    @property
    def is_connected(self) -> bool:
        return bool(self._client.is_connected())

    def disconnect(self) -> None:
        self._client.disconnect()


class Hook:
    """The application and what surrounds it."""

    def __init__(self, app: Flask, dms: SandboxDms) -> None:
        self.app = app
        self.dms = dms
        self._web = app.test_client()

    def connect(self, **options: Any) -> AppClient:
        return AppClient(self.app, **options)

    def webhook(self, body: Any, *, token: str | None = None, headers: dict[str, str] | None = None) -> TestResponse:
        """Post a webhook as DMS does.

        :param body: bytes are posted as they are, anything else as JSON.
        :param token: instead of a good one; an empty one for no Authorization header.
        """
        sent = {"Authorization": f"Bearer {mint() if token is None else token}"} if token != "" else {}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._web.post("/webhook", data=raw, headers={**sent, **(headers or {})}, content_type="application/json")

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._web.get(path, **options)
