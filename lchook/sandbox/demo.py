"""The application of `make demo`: LCH as in production, with the sandbox's DMS and page in the same process."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import config
from lchook import create_app
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.web import create_blueprint

settings = config.load()
dms = SandboxDms(
    issuer=settings.jwt_issuer,
    secret=settings.jwt_secret,
    webhook_url=f"http://127.0.0.1:{settings.port}/webhook",
    port=urlsplit(settings.dms_url).port or 0,
    fetches=True,
    # A person reads the answers: let them come like a person's.
    pace_seconds=0.7,
)
dms.start()
app = create_app(settings)
# The token is of this sandbox only, and in the fragment it reaches no log.
console_url = f"/console#token={quote(settings.console_token)}" if settings.console_token else ""
files_url = f"{settings.public_url}/sandbox/files" if settings.public_url else ""
app.register_blueprint(create_blueprint(dms, console_url=console_url, files_url=files_url))
for each in settings.connections[1:]:
    # The second brand, with an identity provider of its own.
    from lchook.sandbox import second
    from lchook.sandbox.identity_provider import IdentityProvider

    its_dms = SandboxDms(
        issuer=each.jwt_issuer,
        secret=each.jwt_secret,
        webhook_url=dms.webhook_url,
        port=urlsplit(each.dms_url).port or 0,
        pace_seconds=0.7,
    )
    provider = IdentityProvider(port=urlsplit(each.customer_token_jwks_url).port or 0)
    its_dms.start()
    provider.start()
    app.register_blueprint(second.create_blueprint(its_dms, provider))
