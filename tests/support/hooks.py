"""A running LCH with the sandbox DMS behind it: what the live tests work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from lchook.sandbox.bodies import webhook_body
from lchook.sandbox.dms import SandboxDms
from tests.support.clients import PythonClient
from tests.support.jwts import ISSUER, SECRET
from tests.support.servers import Server, free_port

# What a test waits for must not take long; retries have tests of their own.
QUICK = {
    "ACK_TIMEOUT": "0.5",
    "DMS_CONNECT_TIMEOUT": "1",
    "DMS_READ_TIMEOUT": "1",
    "OUTBOX_TTL": "0",
    "STORE_URL": "memory:",
}


class Hook:
    """LCH, and the DMS that it posts to."""

    def __init__(self, server: Server, dms: SandboxDms) -> None:
        self.server = server
        self.dms = dms
        self.url = server.url

    def connect(self, *transports: str, **options: object) -> PythonClient:
        """A client; by WebSocket, if nothing else is said."""
        return PythonClient(self.url, transports=transports or ("websocket",), **options)

    def webhook(self, customer_id: str, text: str = "Hi", **fields: object) -> requests.Response:
        """A signed text from DMS."""
        return self.dms.send(customer_id, "text", text=[text], **fields)

    def post_raw(self, body: object, *, token: str | None = None, **headers: str | None) -> requests.Response:
        """A webhook with any body: bytes, or an iterator of bytes, which is sent in chunks.

        :param token: what follows "Bearer"; None for no Authorization header.
        """
        sent = {"Authorization": None if token is None else f"Bearer {token}", **headers}
        return requests.post(f"{self.url}/webhook", data=body, headers=sent, timeout=10)  # type: ignore[arg-type]

    def works_for(self, name: str) -> bool:
        """Whether a message still goes both ways, for a client and a customer of its own."""
        customer_id = f"works for {name}?"
        with self.connect() as client:
            sent = client.say(customer_id)["status"] == "sent"
            answered = self.webhook(customer_id, "all is well").status_code == 200
            return sent and answered and client.wait_for_messages(1)[-1]["text"] == ["all is well"]


@contextmanager
def running_hook(command: Callable[..., list[str]], *arguments: str, **settings: str) -> Iterator[Hook]:
    """Start LCH and a DMS for it.

    :param command: makes the command from a port and the arguments: `gunicorn_command` or `flask_command`.
    :param settings: in which `{port}` stands for the hook's own.
    """
    with SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False) as dms:
        usual = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET}
        port = free_port()
        own = {name: value.replace("{port}", str(port)) for name, value in settings.items()}
        with Server(command(port, *arguments), port, **{**usual, **QUICK, **own}) as server:
            dms.webhook_url = f"{server.url}/webhook"
            yield Hook(server, dms)


def text_body(customer_id: str, **fields: object) -> dict[str, object]:
    """The body of a text from DMS."""
    return webhook_body("text", customer_id, **fields)
