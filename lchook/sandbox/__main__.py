"""`python -m lchook.sandbox`, `lch demo`: hook, DMS and chat page on one address, with nothing set up. `make demo` runs it.

Sets LCH's environment variables as somebody with a real Pega would, then becomes gunicorn.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from importlib.util import find_spec

from lchook import log_output
from lchook.binds import this_machine, written
from lchook.top import TOP


def main() -> None:
    """Does not return: the process becomes gunicorn."""
    port = os.environ.get("PORT", "5600")
    console_token = secrets.token_urlsafe(16)
    os.environ.update(
        PORT=port,
        DMS_URL=f"http://127.0.0.1:{_free_port()}/dms",
        JWT_ISSUER="sandbox-connection",
        JWT_SECRET=secrets.token_urlsafe(32),
        WEBHOOK_AUTH="required",
        STORE_URL="memory:",
        CONSOLE_TOKEN=console_token,
        # Files both ways; those of agents are on this very address, which ATTACHMENT_HOSTS may name in numbers.
        FILES_URL="file:",
        PUBLIC_URL=f"http://127.0.0.1:{port}",
        ATTACHMENT_HOSTS=f"http://127.0.0.1:{port}",
        CONVERSATION_TTL="86400",
        CONVERSATION_UNPROVEN="on",
        LCH_SANDBOX="1",
    )
    for name in ("FLASK_RUN_FROM_CLI", "GUNICORN_CMD_ARGS", "ALLOWED_ORIGIN", "CLAMD_URL"):
        os.environ.pop(name, None)
    os.environ["ALLOWED_ORIGIN"] = ""
    os.environ["CONNECTIONS"] = _connections() if find_spec("cryptography") is not None else ""
    # The process that prints must not wait for, or fail by, who does not read.
    log_output.take_over()
    print(f"LCH with a sandbox DMS: open http://127.0.0.1:{port}/ (stop with Ctrl+C)")
    print(f"The chat on the page of a make-believe shop: http://127.0.0.1:{port}/shop")
    if os.environ["CONNECTIONS"]:
        print(f"A second brand, whose customers log in: http://127.0.0.1:{port}/second/")
    print(f"What operators see: http://127.0.0.1:{port}/console#token={console_token}")
    log_output.finish()
    binds = [word for address in this_machine(int(port)) for word in ("--bind", written(*address))]
    arguments = ["-P", "-m", "gunicorn", "-c", str(TOP / "gunicorn.conf.py"), *binds, "lchook.sandbox.demo:app"]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def _connections() -> str:
    """The path of a file with two connections: the one that the environment describes, and a second brand's."""
    os.environ["SECOND_JWT_SECRET"] = secrets.token_urlsafe(32)
    provider = f"http://127.0.0.1:{_free_port()}"
    text = f"""
[[connection]]
name = "default"

[[connection]]
name = "second"
dms_url = "http://127.0.0.1:{_free_port()}/dms"
jwt_issuer = "sandbox-second"
jwt_secret_env = "SECOND_JWT_SECRET"
customer_token_jwks_url = "{provider}/jwks.json"
customer_token_issuer = "{provider}"
customer_token_audience = "lch-sandbox"
"""
    with tempfile.NamedTemporaryFile("w", prefix="lch-sandbox-", suffix=".toml", delete=False) as file:
        file.write(text)
    return file.name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
