"""What bot and agent say, and the bodies they say it with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lchook.sandbox.bodies import AGENT_LEFT, KINDS, webhook_body
from lchook.sandbox.files import FILES
from lchook.sandbox.script import MAX_CONVERSATIONS, Script


def text(*words: str, customer_id: str | int = "c1", **fields: Any) -> dict[str, Any]:
    return {"type": "text", "customer_id": customer_id, "message_id": 1, "text": list(words), **fields}


def types(script: Script, message: dict[str, Any]) -> list[str]:
    return [step.body["type"] for step in script.answers(message)]


def said(script: Script, message: dict[str, Any]) -> str:
    texts = [step.body.get("text", []) for step in script.answers(message)]
    return " ".join(each if isinstance(each, str) else " ".join(each) for each in texts)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def greeted() -> Script:
    """A script that has greeted customer c1 already."""
    script = Script()
    script.answers(text("hello"))
    return script


def test_the_bot_greets_by_name_and_offers_a_menu_at_the_first_text(script: Script) -> None:
    steps = script.answers(text("hello", customer_name="Ada"))
    assert [step.body["type"] for step in steps] == ["typing_indicator", "text", "typing_indicator", "menu"]
    assert "Ada" in steps[1].body["text"][0]


def test_a_first_text_that_is_a_wish_is_greeted_and_granted(script: Script) -> None:
    assert types(script, text("carousel")) == ["typing_indicator", "text", "typing_indicator", "carousel"]


@pytest.mark.parametrize(
    ("wish", "type_"),
    [
        ("menu", "menu"),
        ("Carousel!", "carousel"),
        ("a link, please", "link_button"),
        ("help", "text"),
        ("typing", "text"),
    ],
)
def test_the_bot_grants_a_wish_after_typing(greeted: Script, wish: str, type_: str) -> None:
    assert types(greeted, text(wish)) == ["typing_indicator", type_]


@pytest.mark.parametrize("wish", ["attachment", "file"])
def test_an_attachment_is_a_text_with_files_that_the_page_serves(greeted: Script, wish: str) -> None:
    body = greeted.answers(text(wish), link=lambda name: f"https://example.com/files/{name}")[-1].body
    assert body["type"] == "text"
    assert [attachment["url"] for attachment in body["attachments"]] == [
        f"https://example.com/files/{name}" for name in FILES
    ]
    assert [attachment["size"] for attachment in body["attachments"]] == [len(content) for _, content in FILES.values()]


def test_wait_is_a_wait_time_alone(greeted: Script) -> None:
    assert types(greeted, text("wait")) == ["wait_time"]


def test_the_choice_in_a_menu_is_granted_by_its_payload(greeted: Script) -> None:
    menu = greeted.answers(text("menu"))[-1].body
    payloads = [item["payload"] for item in menu["items"]]
    assert types(greeted, text("whatever", postback=payloads[0])) == ["typing_indicator", "carousel"]
    assert all("You said" not in said(Script(), text(payload, postback=payload)) for payload in payloads)


def test_the_choice_in_a_carousel_is_repeated(greeted: Script) -> None:
    payload = webhook_body("carousel", "c1")["items"][0]["items"][0]["payload"]
    assert payload in said(greeted, text(payload, postback=payload))


def test_anything_else_is_echoed_with_a_hint(greeted: Script) -> None:
    answer = said(greeted, text("tell me about the agent and the link"))
    assert "tell me about the agent and the link" in answer
    assert "help" in answer


def test_an_agent_takes_over_and_answers_everything_until_bye(greeted: Script) -> None:
    hand_over = greeted.answers(text("agent"))
    assert [step.body["type"] for step in hand_over][-3:] == ["wait_time", "typing_indicator", "text"]
    assert isinstance(hand_over[3].body["text"], str), "the queue speaks in a plain string"
    bot, agent = hand_over[1].body["csr_name"], hand_over[-1].body["csr_name"]
    assert bot != agent

    answer = greeted.answers(text("menu"))[-1].body
    assert (answer["type"], answer["csr_name"]) == ("text", agent)

    assert types(greeted, text("bye"))[-2:] == ["text", "csr_end_session"]
    assert types(greeted, text("hello again"))[-1] == "menu"


def test_an_agent_who_leaves_says_so_in_words_only_and_the_bot_is_back(greeted: Script) -> None:
    greeted.answers(text("agent"))
    steps = greeted.answers(text("leave"))
    assert [step.body["type"] for step in steps] == ["typing_indicator", "text", "typing_indicator", "text"]
    assert steps[1].body["text"] == AGENT_LEFT
    assert steps[-1].body["author"] == "bot"
    assert types(greeted, text("menu"))[-1] == "menu"


@pytest.mark.parametrize(
    ("answer", "answered"),
    [
        (text("1. I will wait", postback="wait"), "keep your place"),
        (text("Yes, I'll wait."), "keep your place"),
        (text("1"), "keep your place"),
        (text("Call me back", postback="call me back"), "call you back"),
        (text("menu"), "call you back"),
    ],
    ids=["chosen", "in words", "by number", "the other", "anything else"],
)
def test_a_queue_asks_with_a_menu_and_takes_an_answer_in_words(
    greeted: Script, answer: dict[str, Any], answered: str
) -> None:
    asked = [step.body for step in greeted.answers(text("queue"))]
    assert [body["type"] for body in asked] == ["typing_indicator", "text", "typing_indicator", "menu"]
    assert isinstance(asked[1]["text"], str)
    assert answered in said(greeted, answer)
    assert types(greeted, text("menu"))[-1] == "menu"


def test_only_the_bot_is_named_by_author_every_time(greeted: Script) -> None:
    assert greeted.answers(text("hello"))[-1].body["author"] == "bot"
    hand_over = greeted.answers(text("agent"))[-1].body
    later = greeted.answers(text("hello"))[-1].body
    assert (hand_over["author"], "author" in later, later["csr_name"]) == ("agent", False, hand_over["csr_name"])


def test_who_speaks_with_a_number_is_answered_with_the_number_and_with_its_digits(script: Script) -> None:
    ids = [step.body["customer_id"] for _ in range(2) for step in script.answers(text("hello", customer_id=200))]
    assert ids == [200, 200, "200", "200", 200, 200]
    assert types(script, text("hello", customer_id="200")) == ["typing_indicator", "text"], "the same customer"


def test_the_end_of_the_session_by_the_customer_is_not_answered_and_forgets(greeted: Script) -> None:
    greeted.answers(text("agent"))
    assert greeted.answers({"type": "customer_end_session", "customer_id": "c1"}) == []
    assert types(greeted, text("hello"))[-1] == "menu"


def test_a_customer_who_types_is_not_answered(greeted: Script) -> None:
    assert greeted.answers({"type": "typing_indicator", "customer_id": "c1"}) == []


def test_customers_have_conversations_of_their_own(greeted: Script) -> None:
    greeted.answers(text("agent"))
    assert types(greeted, text("hello", customer_id="c2"))[-1] == "menu"
    assert types(greeted, text("hello", customer_id=""))[-1] == "menu"


def test_a_message_without_text_is_answered_too(greeted: Script) -> None:
    message = text()
    del message["text"]
    assert said(greeted, message)
    assert "2 attachments" in said(greeted, {**message, "attachments": [{"url": "a"}, {"url": "b"}]})


def test_only_so_many_conversations_are_remembered(greeted: Script) -> None:
    for number in range(MAX_CONVERSATIONS):
        greeted.answers(text("hello", customer_id=f"other-{number}"))
    assert types(greeted, text("hello"))[-1] == "menu"


def test_each_answer_has_a_message_id_of_its_own(greeted: Script) -> None:
    ids = [greeted.answers(text("hello"))[-1].body["message_id"] for _ in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_plain_json_for_its_customer(kind: str) -> None:
    body = webhook_body(kind, "c1", new_id=lambda: "m1")
    assert json.loads(json.dumps(body)) == body
    assert body["customer_id"] == "c1"
    is_said = body["type"] in ("text", "menu", "carousel", "link_button")
    assert (body.get("message_id") == "m1") is is_said
    assert ("csr_name" in body) is is_said


def test_the_bodies_have_the_fields_of_the_contract() -> None:
    assert set(webhook_body("menu", "c1")["items"][0]) == {"text", "payload", "image_url"}
    card = webhook_body("carousel", "c1")["items"][0]
    assert set(card) == {"title", "sub_title", "title_image_url", "items"}
    assert set(card["items"][0]) == {"text", "payload", "description", "image_url"}
    assert {"title", "label", "url"} <= set(webhook_body("link_button", "c1"))
    assert set(webhook_body("attachments", "c1")["attachments"][0]) == {"url", "content_type", "file_name", "size"}
    assert set(webhook_body("wait_time", "c1")) == {"type", "customer_id", "waitTime"}
    for kind in ("typing_indicator", "csr_end_session"):
        assert set(webhook_body(kind, "c1")) == {"type", "customer_id"}


def test_fields_take_the_place_of_the_example() -> None:
    body = webhook_body("text", "c1", text=["Mine"], message_id="m7", extra={"a": 1})
    assert (body["text"], body["message_id"], body["extra"]) == (["Mine"], "m7", {"a": 1})


def test_a_type_of_the_future_carries_what_it_is_given() -> None:
    assert webhook_body("hologram", "c1", new_id=lambda: "m1", light=True) == {
        "type": "hologram",
        "customer_id": "c1",
        "message_id": "m1",
        "light": True,
    }
