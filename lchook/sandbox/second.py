"""The second brand of the sandbox: a connection to Pega of its own, and customers who log in with an identity provider.

A page that shows no more than this: who may speak is proven, and what is proven reaches DMS. HTTP only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from flask import Blueprint, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from lchook.pages import PROJECT_ROOT, add_shared_routes, client_script, page_headers
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.identity_provider import IdentityProvider
from lchook.sandbox.web import add_files_route

NAME = "second"
_MAX_CHARACTERS = 200
# Short, so that one sees what becomes of a token that ends.
_TTL_SECONDS = 120


def create_blueprint(dms: SandboxDms, provider: IdentityProvider, *, root: Path = PROJECT_ROOT) -> Blueprint:
    """The page at `/second/`, and the identity provider's part below it.

    :param root: the folder that may have `node_modules` with socket.io-client in it.
    """
    second = Blueprint(
        "second",
        __name__,
        url_prefix="/second",
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
    add_shared_routes(second, "", root=root)

    @second.get("/")
    def page() -> ResponseReturnValue:
        dms.files.base_url = url_for(".file", name="", _external=True).rstrip("/")
        client = client_script(root=root)
        return render_template("second.html", client=client, connection=NAME), page_headers(client)

    add_files_route(second, "/files/", dms)

    @second.post("/log-in")
    def log_in() -> ResponseReturnValue:
        """A token for whoever says who they are: this is a sandbox, and asks for no password."""
        wanted = request.get_json(silent=True)
        asked: dict[str, Any] = wanted if isinstance(wanted, dict) else {}
        customer_id, customer_name = asked.get("customer_id"), asked.get("customer_name")
        if not _is_short_text(customer_id) or not _is_short_text(customer_name):
            return jsonify(error='send a JSON object such as {"customer_id": "customer-1", "customer_name": "Ada"}'), 400
        facts = {"customer_name": customer_name, "context_data": {"logged_in": True, "brand": NAME}}
        return jsonify(token=provider.token(customer_id, facts=facts, ttl_seconds=_TTL_SECONDS), facts=facts)

    @second.post("/rotate")
    def rotate() -> ResponseReturnValue:
        """The next token is signed with a new key; the one before counts until it ends."""
        return jsonify(key=provider.rotate())

    return second


def _is_short_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS
