"""What the bot and the agent behind the sandbox answer. No I/O and no waiting: pauses are only told."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lchook.sandbox.bodies import AGENT, AGENT_LEFT, BOT, IN_QUEUE, CustomerId, tile, unsigned_link, webhook_body

# Conversations that are remembered; the one that was silent for longest is forgotten first.
MAX_CONVERSATIONS = 10_000

HELP = (
    "I understand: menu, carousel, link, attachment, typing, wait, queue, agent, bye and help. "
    "Anything else I repeat. Once an agent is here, say bye to end the conversation, or leave to see the agent go."
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
    # The queue has asked something that may be answered by a choice or in words.
    asked_by_queue: bool = False
    # How often somebody has spoken to this customer.
    turns: int = 0


class Script:
    """Plays bot and agent for any number of customers. Safe to use from several threads."""

    def __init__(self) -> None:
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self, customer_id: CustomerId) -> None:
        """The conversation is over: the next text starts a new one."""
        with self._lock:
            self._conversations.pop(str(customer_id), None)

    def answers(self, message: Mapping[str, Any], *, link: Callable[[str], str] = unsigned_link) -> list[Step]:
        """What is said in answer to a message that DMS took, in order.

        :param link: gives the address of a file.
        """
        customer_id = str(message["customer_id"])
        if message["type"] == "customer_end_session":
            self.forget(customer_id)
            return []
        if message["type"] != "text":
            return []
        with self._lock:
            is_new = customer_id not in self._conversations
            conversation = self._conversations.setdefault(customer_id, _Conversation())
            self._conversations.move_to_end(customer_id)
            if len(self._conversations) > MAX_CONVERSATIONS:
                self._conversations.popitem(last=False)
            said = _Saying(message["customer_id"], conversation, AGENT if conversation.with_agent else BOT, link)
            wish = _wish(message)
            if conversation.asked_by_queue:
                conversation.asked_by_queue = False
                _queue_answers(said, message)
            elif conversation.with_agent:
                _agent_answers(said, wish, message)
            else:
                _bot_answers(said, wish, message, is_new=is_new, customer_name=message.get("customer_name"))
            if said.ended:
                del self._conversations[customer_id]
        return said.steps


class _Saying:
    """The steps of one answer, in the making. Whatever somebody says comes after a typing_indicator and a pause."""

    def __init__(
        self,
        customer_id: CustomerId,
        conversation: _Conversation,
        speaker: Mapping[str, str],
        link: Callable[[str], str],
    ) -> None:
        self.steps: list[Step] = []
        self.ended = False
        self.speaker = speaker
        self.conversation = conversation
        self._customer_id = customer_id
        self._link = link

    def say(self, kind: str, *, pause: float = _PAUSE_TO_TYPE, **fields: Any) -> None:
        self.signal("typing_indicator", pause=_PAUSE_TO_READ)
        self._step(kind, pause, **{**self.speaker, **fields})
        self.conversation.turns += 1

    def text(self, text: str, *, pause: float = _PAUSE_TO_TYPE, **fields: Any) -> None:
        self.say("text", text=[text], pause=pause, **fields)

    def plain_text(self, text: str, *, pause: float = _PAUSE_TO_TYPE) -> None:
        """A text as what speaks by itself writes it: a string."""
        self.say("text", text=text, pause=pause)

    def signal(self, kind: str, *, pause: float = 0.0) -> None:
        self._step(kind, pause)

    def end(self) -> None:
        self.signal("csr_end_session", pause=_PAUSE_TO_TYPE)
        self.ended = True

    def _step(self, kind: str, pause: float, **fields: Any) -> None:
        # Who speaks to DMS with a number is answered now with the number, now with its digits.
        as_digits = self.conversation.turns % 2 == 1
        customer_id = str(self._customer_id) if as_digits else self._customer_id
        self.steps.append(Step(webhook_body(kind, customer_id, link=self._link, **fields), pause))


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
        case "queue":
            said.plain_text(IN_QUEUE)
            said.say("menu", title="Will you wait? Choose, or answer in words.", items=_QUEUE_ITEMS)
            said.conversation.asked_by_queue = True
        case "agent":
            said.text("I will get you a person.")
            said.plain_text(IN_QUEUE)
            said.signal("wait_time")
            said.speaker = AGENT
            greeting = f"Hello, this is {AGENT['csr_name']}. What can I do for you?"
            said.text(greeting, pause=_LONG_PAUSE, author="agent")
            said.conversation.with_agent = True
        case "bye":
            said.text(_GOODBYE)
            said.end()
        case "help":
            said.plain_text(HELP)
        case _ if "postback" in message:
            said.text(f"You chose: {message['postback']}")
        case _ if is_new:
            said.say("menu")
        case _:
            said.text(f"{_echo(message)} Say help to see what I can do.")


def _agent_answers(said: _Saying, wish: str, message: Mapping[str, Any]) -> None:
    match wish:
        case "bye":
            said.text(_GOODBYE)
            said.end()
        case "leave":
            # No csr_end_session: only the words say so, and the bot is there again.
            said.plain_text(AGENT_LEFT)
            said.speaker = BOT
            said.text(f"{BOT['csr_name']} here again. Say help to see what I can do.")
            said.conversation.with_agent = False
        case _:
            said.text(f"{_echo(message)} I am still here: say bye to end our conversation.")


def _queue_answers(said: _Saying, message: Mapping[str, Any]) -> None:
    answer = _words(message).lower()
    if "wait" in answer or answer.strip(" .!") in ("1", "yes"):
        said.plain_text("Thank you. You keep your place in the queue.")
    else:
        said.plain_text(f"We will call you back. Your message: “{_words(message)}”.")


_GOODBYE = "Goodbye, and thank you for chatting!"
_QUEUE_ITEMS = [
    {"text": "1. I will wait", "payload": "wait", "image_url": tile("1", "#2563eb")},
    {"text": "2. Call me back", "payload": "call me back", "image_url": tile("2", "#0d9488")},
]

_WISHES = {
    "menu": "menu",
    "carousel": "carousel",
    "link": "link",
    "attachment": "attachment",
    "attachments": "attachment",
    "file": "attachment",
    "typing": "typing",
    "wait": "wait",
    "queue": "queue",
    "leave": "leave",
    "agent": "agent",
    "bye": "bye",
    "help": "help",
}


def _wish(message: Mapping[str, Any]) -> str:
    """Which of the things that the bot understands the customer asks for, or an empty string.

    The whole text has to be the word, give or take case and punctuation, or have it as its only such word: "a link,
    please" is a wish, "the agent sent me a link" is not.
    """
    words = {word.strip(".,;:!?\"'()") for word in _words(message).lower().split()}
    wishes = {_WISHES[word] for word in words if word in _WISHES}
    return wishes.pop() if len(wishes) == 1 else ""


def _words(message: Mapping[str, Any]) -> str:
    return str(message["postback"]) if "postback" in message else " ".join(message.get("text", []))


def _echo(message: Mapping[str, Any]) -> str:
    parts = []
    if message.get("text"):
        parts.append(f"You said: “{' '.join(message['text'])}”.")
    if message.get("attachments"):
        count = len(message["attachments"])
        parts.append(f"You sent {count} attachment{'s' if count > 1 else ''}.")
    return " ".join(parts) or "You sent a message without text."
