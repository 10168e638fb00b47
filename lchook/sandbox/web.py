"""The sandbox in a browser: the chat page, and an API for faults, the wire log and the agent's part. HTTP only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue

from lchook.pages import PROJECT_ROOT, add_shared_routes, client_script, page_headers, site_headers
from lchook.sandbox.bodies import KINDS
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import FaultsError
from lchook.sandbox.posts import is_customer_id
from lchook.sandbox.webhooks import OverloadedError
from lchook.web import client_files

CUSTOMERS: tuple[dict[str, str | int], ...] = (
    {"customer_id": "customer-1", "customer_name": "Ada Lindgren"},
    {"customer_id": "customer-2", "customer_name": "Björn Nilsson"},
    {"customer_id": "customer-3", "customer_name": "Chiara Rossi"},
    # Some sites' ids are numbers, and go to DMS as such.
    {"customer_id": 200, "customer_name": "Dana Weiss"},
    {"customer_id": "", "customer_name": "Unauthenticated person"},
)

# What the make-believe shop sells: name, taste, price.
_GOODS = (
    ("Morning tide", "Light, with lemon and tea", "€ 11 for 250 g"),
    ("Harbour", "Round, with nuts and cocoa", "€ 10 for 250 g"),
    ("Night watch", "Dark, with smoke and molasses", "€ 10 for 250 g"),
)

# Proxies and browsers drop a stream that is silent for about a minute.
_STREAM_COMMENT_SECONDS = 15.0
# A slow hook, and what waits before the agent's words.
_SAY_SECONDS = 30.0


def add_files_route(blueprint: Blueprint, prefix: str, dms: SandboxDms) -> None:
    """Serve the files of its agent: endpoint `file` at `<prefix><name>`."""

    def file(name: str) -> ResponseReturnValue:
        answer = dms.files.fetch(name, request.args)
        # A browser must not show from memory what has died since.
        headers = {"Content-Type": answer.content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return answer.content, answer.status, headers

    blueprint.add_url_rule(prefix, view_func=file, defaults={"name": ""})
    blueprint.add_url_rule(f"{prefix}<name>", view_func=file)


def create_blueprint(
    dms: SandboxDms,
    hook_url: str = "",
    *,
    customers: Sequence[Mapping[str, str | int]] = CUSTOMERS,
    console_url: str = "",
    files_url: str = "",
    root: Path = PROJECT_ROOT,
) -> Blueprint:
    """The page at `/`, a make-believe shop with a chat at `/shop`, everything else under `/sandbox/`.

    :param hook_url: where LCH is, for the page's Socket.IO connection; empty for the page's own address.
    :param console_url: of the operators' console, for a link to it.
    :param files_url: where agents' files are; empty for beside the page.
    :param root: the folder that may have `node_modules` with socket.io-client in it.
    """
    hook_url = hook_url.rstrip("/")
    sandbox = Blueprint(
        "sandbox",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/sandbox/static",
    )
    add_shared_routes(sandbox, "/sandbox", root=root)

    @sandbox.get("/")
    def page() -> ResponseReturnValue:
        dms.files.base_url = files_url or url_for("sandbox.file", name="", _external=True).rstrip("/")
        client = client_script(root=root)
        html = render_template("chat.html", client=client, console_url=console_url)
        return html, page_headers(client, hook_url=hook_url, images="'self' https: data:")

    @sandbox.get("/shop")
    def shop() -> ResponseReturnValue:
        dms.files.base_url = url_for("sandbox.file", name="", _external=True).rstrip("/")
        html = render_template("shop.html", chat_src=f"{hook_url}/client/lch-chat.js", goods=_GOODS)
        return html, site_headers(client_script(root=root), hook_url=hook_url, images="'self' https: data:")

    add_files_route(sandbox, "/sandbox/files/", dms)

    @sandbox.get("/sandbox/config.json")
    def config() -> ResponseReturnValue:
        return jsonify(
            hook=hook_url, dms_url=dms.url, webhook_url=dms.webhook_url, customers=[dict(customer) for customer in customers]
        )

    @sandbox.get("/sandbox/wire")
    def wire() -> ResponseReturnValue:
        text = request.headers.get("Last-Event-ID") or request.args.get("after") or "0"
        if not re.fullmatch(r"[0-9]{1,15}", text):
            return _problem(400, "after (or Last-Event-ID) must be the number of an entry")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(_events(dms, int(text)), mimetype="text/event-stream", headers=headers)

    @sandbox.get("/sandbox/faults")
    def get_faults() -> ResponseReturnValue:
        return jsonify(dms.faults.as_dict())

    @sandbox.put("/sandbox/faults")
    def put_faults() -> ResponseReturnValue:
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict):
            return _problem(400, 'send a JSON object such as {"dms": "503"}, as application/json')
        try:
            dms.faults.set(**wanted)
        except FaultsError as error:
            return _problem(400, str(error))
        return jsonify(dms.faults.as_dict())

    @sandbox.post("/sandbox/say")
    def say() -> ResponseReturnValue:
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict) or not is_customer_id(wanted.get("customer_id")):
            return _problem(400, 'send a JSON object such as {"customer_id": "…", "kind": "menu"}, as application/json')
        kind, text = wanted.get("kind"), wanted.get("text")
        if kind not in KINDS:
            return _problem(400, f"kind must be one of {', '.join(KINDS)}")
        if text is not None and not isinstance(text, str):
            return _problem(400, "text must be a string")
        fields: dict[str, Any] = {}
        if text and kind in ("text", "attachments"):
            fields["text"] = [text]
        elif text and kind in ("string_text", "agent_left"):
            fields["text"] = text
        try:
            status = dms.say(wanted["customer_id"], kind, **fields).result(timeout=_SAY_SECONDS)
        except OverloadedError as error:
            return _problem(503, str(error))
        except TimeoutError:
            return _problem(504, f"the webhook has not been answered after {_SAY_SECONDS:g} s")
        return jsonify(status=status)

    return sandbox


def create_app(dms: SandboxDms, hook_url: str, **options: Any) -> Flask:
    """The sandbox alone, beside an LCH that runs elsewhere. `options` are those of `create_blueprint`."""
    # No static folder of its own: it would be this package's, at another address.
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_blueprint(dms, hook_url, **options))
    app.register_blueprint(client_files.create_blueprint())
    return app


def _problem(status: int, words: str) -> tuple[Response, int]:
    return jsonify(error=words), status


def _events(dms: SandboxDms, seq: int) -> Iterator[str]:
    # Something at once, so that the browser knows that it is connected.
    yield ": the wire\n\n"
    while not dms.wire.closed:
        entries = dms.wire.after(seq, timeout_seconds=_STREAM_COMMENT_SECONDS)
        yield "".join(map(_event, entries)) or ": nothing new\n\n"
        if entries:
            seq = entries[-1]["seq"]


def _event(entry: dict[str, Any]) -> str:
    try:
        data = json.dumps(entry, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        # Deeper than Python writes, though not deeper than it reads.
        hidden = {"request": {"headers": {}, "body": "(cannot be shown)"}, "response": {"body": None}}
        data = json.dumps({**entry, **hidden})
    return f"id: {entry['seq']}\ndata: {data}\n\n"
