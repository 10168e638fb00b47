"""`flask --app wsgi sandbox`: the DMS and the chat page, beside an LCH that runs on its own."""

from __future__ import annotations

from werkzeug.serving import make_server

from config import Settings
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.files import DEFAULT_FILES_URL
from lchook.sandbox.web import create_app


def run(settings: Settings, *, port: int, dms_port: int, hook: str) -> None:
    """Serve until interrupted.

    :param port: of the chat page.
    :param dms_port: where posts from LCH are taken: the port of its DMS_URL.
    :param hook: LCH's address, for the page's Socket.IO and the webhook.
    """
    hook = hook.rstrip("/")
    dms = SandboxDms(
        issuer=settings.jwt_issuer, secret=settings.jwt_secret, webhook_url=f"{hook}/webhook", port=dms_port, fetches=True
    )
    # Also for pages elsewhere, before anybody has opened this one.
    dms.files.base_url = f"http://127.0.0.1:{port}{DEFAULT_FILES_URL}"
    server = make_server("127.0.0.1", port, create_app(dms, hook_url=hook), threaded=True)
    with dms:
        print(f"The sandbox's DMS takes posts at {dms.url}: LCH needs DMS_URL={dms.url}")
        print(f"The chat page is at http://127.0.0.1:{port}/: LCH needs ALLOWED_ORIGIN=http://127.0.0.1:{port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
