"""The bodies of DMS's webhooks: one example of each type. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from lchook.sandbox.files import DEFAULT_FILES_URL, FILES, attachment

BOT = {"csr_name": "Robin", "author": "bot"}
# "author" tells the bot; of people DMS says it seldom.
AGENT = {"csr_name": "Maya Lindqvist"}
# Nothing but words says that an agent has gone, and that one waits in a queue.
AGENT_LEFT = f"{AGENT['csr_name']} has left the conversation."
IN_QUEUE = "All our agents are busy. You are number 2 in the queue."

# What "say" can say. All but "string_text", "attachments" and "agent_left", which are texts, are types of DMS.
KINDS = (
    "text",
    "string_text",
    "menu",
    "carousel",
    "link_button",
    "attachments",
    "agent_left",
    "typing_indicator",
    "wait_time",
    "csr_end_session",
)
_TEXTS = ("string_text", "attachments", "agent_left")
# Types that carry message_id, csr_name and, sometimes, author.
_SAID_BY_SOMEBODY = ("text", "menu", "carousel", "link_button")

CustomerId = str | int | float


def unsigned_link(name: str) -> str:
    """The address of a file without the signature that the storage asks for."""
    return f"{DEFAULT_FILES_URL}/{name}"


def webhook_body(
    kind: str,
    customer_id: CustomerId,
    *,
    link: Callable[[str], str] = unsigned_link,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    **fields: Any,
) -> dict[str, Any]:
    """A webhook's body, as DMS sends it: an example of its kind, with `fields` in place of the example's.

    :param kind: one of `KINDS`; another one gives a body with that type and the given fields only.
    :param link: gives the address of a file.
    """
    type_ = "text" if kind in _TEXTS else kind
    body: dict[str, Any] = {"type": type_, "customer_id": customer_id}
    if type_ in _SAID_BY_SOMEBODY or kind not in KINDS:
        body["message_id"] = new_id()
    if type_ in _SAID_BY_SOMEBODY:
        body.update(AGENT)
    body.update(_example(kind, link))
    body.update(fields)
    return body


def _example(kind: str, link: Callable[[str], str]) -> dict[str, Any]:
    match kind:
        case "text":
            return {"text": ["Hello, how can I help?"]}
        case "string_text":
            return {"text": "This text is a plain string, not a list."}
        case "agent_left":
            return {"text": AGENT_LEFT}
        case "attachments":
            return {
                "text": ["Here are a picture and a text file."],
                "attachments": [attachment(name, link(name)) for name in FILES],
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
