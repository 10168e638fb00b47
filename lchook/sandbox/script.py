"""What the bot and the agent behind the sandbox answer. No I/O and no waiting: pauses are only told."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lchook.sandbox.bodies import AGENT, BOT, DEFAULT_FILES_URL, webhook_body

# Conversations that are remembered; the one that was silent for longest is forgotten first.
MOST_CONVERSATIONS = 10_000

HELP = (
    "I understand: menu, carousel, link, attachment, typing, wait, agent, bye and help. "
    "Anything else I repeat. Once an agent is here, the agent answers until you say bye."
)
_PAUSE_TO_READ = 0.3
_PAUSE_TO_TYPE = 1.0
_LONG_PAUSE = 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """One webhook. `pause` is how long the one who says it takes first, in beats: the sandbox decides how long a beat is."""

    body: dict[str, Any]
    pause: float = 0.0


@dataclass(slots=True)
class _Conversation:
    with_agent: bool = False


class Script:
    """Plays bot and agent for any number of customers. Safe to use from several threads."""

    def __init__(self) -> None:
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self, customer_id: str) -> None:
        """The conversation is over: the next text starts a new one."""
        with self._lock:
            self._conversations.pop(customer_id, None)

    def answers(self, message: Mapping[str, Any], *, files_url: str = DEFAULT_FILES_URL) -> list[Step]:
        """What is said in answer to a message that DMS took, in order."""
        customer_id = message["customer_id"]
        if message["type"] == "customer_end_session":
            self.forget(customer_id)
            return []
        if message["type"] != "text":
            return []
        with self._lock:
            is_new = customer_id not in self._conversations
            conversation = self._conversations.setdefault(customer_id, _Conversation())
            self._conversations.move_to_end(customer_id)
            if len(self._conversations) > MOST_CONVERSATIONS:
                self._conversations.popitem(last=False)
            said = _Saying(customer_id, files_url, AGENT if conversation.with_agent else BOT)
            wish = _wish(message)
            if conversation.with_agent:
                _agent_answers(said, wish, message)
            else:
                _bot_answers(said, wish, message, is_new=is_new, customer_name=message.get("customer_name"))
            if wish == "agent":
                conversation.with_agent = True
            elif wish == "bye":
                del self._conversations[customer_id]
        return said.steps


class _Saying:
    """The steps of one answer, in the making. Whatever somebody says comes after a typing_indicator and a pause."""

    def __init__(self, customer_id: str, files_url: str, speaker: Mapping[str, str]) -> None:
        self.steps: list[Step] = []
        self.speaker = speaker
        self._customer_id = customer_id
        self._files_url = files_url

    def say(self, kind: str, *, pause: float = _PAUSE_TO_TYPE, **fields: Any) -> None:
        self.signal("typing_indicator", pause=_PAUSE_TO_READ)
        fields = {**self.speaker, **fields}
        body = webhook_body(kind, self._customer_id, files_url=self._files_url, **fields)
        self.steps.append(Step(body, pause))

    def text(self, text: str, *, pause: float = _PAUSE_TO_TYPE) -> None:
        self.say("text", text=[text], pause=pause)

    def signal(self, kind: str, *, pause: float = 0.0) -> None:
        self.steps.append(Step(webhook_body(kind, self._customer_id), pause))


def _bot_answers(said: _Saying, wish: str, message: Mapping[str, Any], *, is_new: bool, customer_name: str | None) -> None:
    if is_new:
        name = f", {customer_name}" if customer_name else ""
        said.text(f"Hello{name}! I am {BOT['csr_name']}, the sandbox's bot. Say help to see what I can do.")
    match wish:
        case "menu" | "carousel":
            said.say(wish)
        case "link":
            said.say("link_button")
        case "attachment":
            said.say("attachments")
        case "typing":
            said.text("That was me, typing for a while.", pause=_LONG_PAUSE)
        case "wait":
            said.signal("wait_time")
        case "agent":
            said.text("I will get you a person.")
            said.signal("wait_time")
            said.speaker = AGENT
            said.text(f"Hello, this is {AGENT['csr_name']}. What can I do for you?", pause=_LONG_PAUSE)
        case "bye":
            _part(said)
        case "help":
            said.text(HELP)
        case _ if "postback" in message:
            said.text(f"You chose: {message['postback']}")
        case _ if is_new:
            said.say("menu")
        case _:
            said.text(f"{_echo(message)} Say help to see what I can do.")


def _agent_answers(said: _Saying, wish: str, message: Mapping[str, Any]) -> None:
    if wish == "bye":
        _part(said)
    else:
        said.text(f"{_echo(message)} I am still here: say bye to end our conversation.")


def _part(said: _Saying) -> None:
    said.text("Goodbye, and thank you for chatting!")
    said.signal("csr_end_session", pause=_PAUSE_TO_TYPE)


_WISHES = {
    "menu": "menu",
    "carousel": "carousel",
    "link": "link",
    "attachment": "attachment",
    "attachments": "attachment",
    "file": "attachment",
    "typing": "typing",
    "wait": "wait",
    "agent": "agent",
    "bye": "bye",
    "help": "help",
}


def _wish(message: Mapping[str, Any]) -> str:
    """Which of the things that the bot understands the customer asks for, or an empty string.

    The whole text has to be the word, give or take case and punctuation, or have it as its only such word: "a link,
    please" is a wish, "the agent sent me a link" is not.
    """
    said = str(message["postback"]) if "postback" in message else " ".join(message.get("text", []))
    words = {word.strip(".,;:!?\"'()") for word in said.lower().split()}
    wishes = {_WISHES[word] for word in words if word in _WISHES}
    return wishes.pop() if len(wishes) == 1 else ""


def _echo(message: Mapping[str, Any]) -> str:
    parts = []
    if message.get("text"):
        parts.append(f"You said: “{' '.join(message['text'])}”.")
    if message.get("attachments"):
        count = len(message["attachments"])
        parts.append(f"You sent {count} attachment{'s' if count > 1 else ''}.")
    return " ".join(parts) or "You sent a message without text."
