"""The bodies of DMS's webhooks: one example of each type. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

BOT = {"csr_name": "Robin", "author": "bot"}
AGENT = {"csr_name": "Maya Lindqvist", "author": "agent"}

# What "say" can say. All but "attachments", which is a text, are types of DMS.
KINDS = (
    "text",
    "menu",
    "carousel",
    "link_button",
    "attachments",
    "typing_indicator",
    "wait_time",
    "csr_end_session",
)
# Types that carry message_id, csr_name and author.
_SAID_BY_SOMEBODY = ("text", "menu", "carousel", "link_button")

# Where the example attachments are: the blueprint serves them, and knows its address only when it is asked.
DEFAULT_FILES_URL = "/sandbox/files"


def webhook_body(
    kind: str,
    customer_id: str,
    *,
    files_url: str = DEFAULT_FILES_URL,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    **fields: Any,
) -> dict[str, Any]:
    """A webhook's body, as DMS sends it: an example of its kind, with `fields` in place of the example's.

    :param kind: one of `KINDS`; another one gives a body with that type and the given fields only.
    """
    type_ = "text" if kind == "attachments" else kind
    body: dict[str, Any] = {"type": type_, "customer_id": customer_id}
    if type_ in _SAID_BY_SOMEBODY or kind not in KINDS:
        body["message_id"] = new_id()
    if type_ in _SAID_BY_SOMEBODY:
        body.update(AGENT)
    body.update(_example(kind, files_url))
    body.update(fields)
    return body


def _example(kind: str, files_url: str) -> dict[str, Any]:
    match kind:
        case "text":
            return {"text": ["Hello, how can I help?"]}
        case "attachments":
            return {
                "text": ["Here are a picture and a text file."],
                "attachments": [
                    _attachment(files_url, "harbour.svg"),
                    _attachment(files_url, "opening-hours.txt"),
                ],
            }
        case "menu":
            return {
                "title": "What would you like to see?",
                "items": [
                    {"text": text, "payload": payload, "image_url": tile(letter, colour)}
                    for text, payload, letter, colour in _MENU
                ],
            }
        case "carousel":
            return {"items": [_card(*card) for card in _CARDS]}
        case "link_button":
            return {
                "title": "All about digital messaging",
                "label": "Open Pega's documentation",
                "url": "https://docs.pega.com/",
            }
        case "wait_time":
            return {"waitTime": 2}
    return {}


_MENU = (
    ("Show me some offers", "carousel", "O", "#2563eb"),
    ("A link, please", "link", "L", "#0d9488"),
    ("Send me a file", "attachment", "F", "#b45309"),
    ("Talk to a person", "agent", "P", "#be185d"),
)
# Title, sub-title, colour, and what can be chosen.
_CARDS = (
    ("Small", "For one person", "#2563eb", (("Choose Small", "choose small", "99 a month"), ("Tell me more", "more"))),
    ("Medium", "For a family", "#0d9488", (("Choose Medium", "choose medium", "199 a month"), ("Tell me more", "more"))),
    ("Large", "For a firm", "#be185d", (("Choose Large", "choose large", "499 a month"), ("Tell me more", "more"))),
)


def _card(title: str, sub_title: str, colour: str, choices: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    return {
        "title": title,
        "sub_title": sub_title,
        "title_image_url": tile(title[0], colour, width=320, height=160),
        "items": [
            {
                "text": choice[0],
                "payload": f"more {title.lower()}" if choice[1] == "more" else choice[1],
                "description": choice[2] if len(choice) > 2 else "",
                "image_url": tile(choice[0][0], colour),
            }
            for choice in choices
        ],
    }


def tile(letter: str, colour: str, *, width: int = 96, height: int = 96) -> str:
    """A picture that needs no network: a letter on a colour, as a data URL."""
    return "data:image/svg+xml," + quote(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<rect width="{width}" height="{height}" fill="{colour}"/><text x="50%" y="50%" dy=".36em" fill="#fff"'
        f' font-family="sans-serif" font-size="{height // 2}" text-anchor="middle">{letter}</text></svg>'
    )


_HARBOUR = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 270" width="480" height="270">
<rect width="480" height="270" fill="#bae6fd"/><circle cx="380" cy="70" r="34" fill="#fbbf24"/>
<rect y="180" width="480" height="90" fill="#0369a1"/>
<path d="M120 180 l30 40 h140 l30 -40 z" fill="#7c2d12"/><path d="M215 40 v135 h-85 z" fill="#fff"/>
<path d="M225 60 v115 h70 z" fill="#fecaca"/></svg>
"""
_OPENING_HOURS = "Opening hours\n\nMonday to Friday  8-20\nSaturday         10-16\n"

# Name to content type and content.
FILES: dict[str, tuple[str, bytes]] = {
    "harbour.svg": ("image/svg+xml", _HARBOUR.encode()),
    "opening-hours.txt": ("text/plain; charset=utf-8", _OPENING_HOURS.encode()),
}


def _attachment(files_url: str, name: str) -> dict[str, Any]:
    content_type, content = FILES[name]
    return {
        "url": f"{files_url}/{name}",
        "content_type": content_type.partition(";")[0],
        "file_name": name,
        "size": len(content),
    }
