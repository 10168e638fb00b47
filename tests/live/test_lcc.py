"""LCC, the browser client in the field: a new connection for every key stroke, none ever closed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clients import BOTH, SCRIPTS, NodeProcess
from tests.support.hooks import Hook
from tests.support.waiting import wait_until


class Lcc:
    """tests/live/js/lcc.mjs, and what it told."""

    def __init__(self, url: str, customer_id: str, transports: tuple[str, ...]) -> None:
        self._told: list[dict[str, Any]] = []
        options = f'{{"transports": {list(transports)}}}'.replace("'", '"')
        self._process = NodeProcess(SCRIPTS / "lcc.mjs", url, customer_id, options, tell=self._told.append)

    def do(self, what: str, **fields: Any) -> None:
        self._process.command(do=what, **fields)

    def told(self, what: str) -> list[dict[str, Any]]:
        return [line for line in list(self._told) if line["tells"] == what]

    def answers(self) -> list[tuple[int, str]]:
        """Socket and text of each serverMessage from DMS."""
        return [
            (line["socket"], line["payload"]["text"][0])
            for line in self.told("serverMessage")
            if isinstance(line["payload"], dict)
        ]

    def wait_for(self, what: str, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.told(what)) >= count, lambda: f"{count} {what}, of {self._told}")
        return self.told(what)

    def close(self) -> None:
        self._process.close()


@pytest.mark.parametrize("transports", [BOTH, ("websocket",), ("polling",)], ids=["upgrade", "websocket", "polling"])
def test_with_thirty_open_sockets_every_answer_arrives_once_and_on_the_newest(
    hook: Hook, customer: str, transports: tuple[str, ...]
) -> None:
    lcc = Lcc(hook.url, customer, transports)
    try:
        expected = []
        for number, text in enumerate(["Hello", "My order", "is late", "by 3 weeks"], start=1):
            lcc.do("type", text=text)
            ack = lcc.wait_for("ack", number)[-1]
            assert ack["outcome"] == {"status": "sent", "message_id": ack["message"]["message_id"], "dms_status": 200}
            for part in ("first", "second"):
                answer = f"{part} answer to {text}"
                assert hook.webhook(customer, answer).status_code == 200
                expected.append((ack["socket"], answer))
                wait_until(lambda: len(lcc.answers()) >= len(expected), lambda: f"{expected}, of {lcc.answers()}")

        lcc.do("choose", payload="buy")
        lcc.wait_for("ack", 5)
        lcc.do("end")
        last = lcc.wait_for("ack", 6)[-1]["socket"]
        assert last >= 30
        hook.webhook(customer, "Goodbye")
        wait_until(lambda: len(lcc.answers()) > len(expected), "the last answer")

        # Whatever LCH sent to any of the sockets has come when this is told.
        lcc.do("settle")
        assert lcc.wait_for("settled", 1)[0]["sockets"] == last + 1
        assert lcc.answers() == [*expected, (last, "Goodbye")]
    finally:
        lcc.close()

    received = hook.dms.wait_for(lambda body: body["customer_id"] == customer)
    assert all(isinstance(body["message_id"], int) for body in received)
    assert [(body["type"], body.get("text"), body.get("postback")) for body in received] == [
        ("text", ["Hello"], None),
        ("text", ["My order"], None),
        ("text", ["is late"], None),
        ("text", ["by 3 weeks"], None),
        ("text", ["buy"], "buy"),
        ("customer_end_session", None, None),
    ]
