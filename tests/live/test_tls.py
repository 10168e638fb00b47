"""gunicorn that speaks TLS itself. A proxy is the usual way, and there WebSockets cost less; but this works, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.certificates import self_signed
from tests.support.clients import BOTH
from tests.support.hooks import running_hook, text_body
from tests.support.jwts import mint
from tests.support.servers import gunicorn_command


def test_messages_go_both_ways_over_tls_by_every_transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path).file
    for variable in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(certificate))
    tls = ("--certfile", str(certificate), "--keyfile", str(tmp_path / "key.pem"))

    with running_hook(gunicorn_command, *tls) as hook:
        for transports in (("websocket",), ("polling",), BOTH):
            with hook.connect(*transports) as client:
                assert client.transport == transports[-1]
                assert client.say("c", "x" * 100_000)["status"] == "sent"
                for number in range(3):
                    body = text_body("c", text=[f"{number} " + "y" * 100_000])
                    assert hook.post_raw(json.dumps(body), token=mint()).status_code == 200
                texts = [message["text"][0] for message in client.wait_for_messages(3)]
                # python-socketio's client has a thread for each event, so it is not for it to say in which order they came.
                assert sorted(text.partition(" ")[0] for text in texts) == ["0", "1", "2"]
