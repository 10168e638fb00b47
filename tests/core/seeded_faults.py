"""Faults put into the machines of `lchook/core` by hand, to see whether their tests find them.

    python -m tests.core.seeded_faults [session|outbox|feed]

Copies the project's core and its tests into a folder of its own, puts in one fault at a time, and runs the tests there.
Not a test itself: it takes minutes. Exit status 1 where a fault was not found.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


# That it is found is all that counts here, not the shortest way to it.
NO_SHRINKING = """
from hypothesis import Phase, settings

settings.register_profile("no shrinking", phases=[Phase.explicit, Phase.generate])
settings.load_profile("no shrinking")
"""


class Fault(NamedTuple):
    what: str
    module: str
    old: str
    new: str
    # Whose test finds it, if not the module's.
    test: str = ""


FAULTS = (
    Fault(
        "messages given up with their connection do not come first again",
        "inflight",
        "self.cursor = min(self.cursor, min(lost) - 1)",
        "pass",
        "session",
    ),
    Fault(
        "what is acknowledged is forgotten before the store removed it",
        "inflight",
        "self.acked.add(delivery.number)",
        "pass",
        "session",
    ),
    Fault(
        "what was fetched before it was removed is sent again",
        "session",
        'if self.calls.under_way == "fetch":\n            # What',
        "if False:\n            # What",
    ),
    Fault(
        "a message overtakes those in flight on an older connection",
        "inflight",
        "return self.never_acks or all(delivery.connection == connection for delivery in self.deliveries.values())",
        "return True",
        "session",
    ),
    Fault("a message goes out before one that was not sent", "session", "and before <= inflight.cursor", "and True"),
    Fault(
        "a customer who came back while the store was told that they left is not claimed",
        "session",
        "            self.calls.want_all()\n        return [*self._rest(), *self.calls.next()]",
        "            self.calls.fetch_wanted = True\n        return [*self._rest(), *self.calls.next()]",
    ),
    Fault(
        "a failed fetch is taken for one that leased nothing",
        "session",
        "self.inflight.leased = True\n        self.calls.want_all()",
        "self.calls.want_all()",
    ),
    Fault(
        "the lease ends while messages are in flight",
        "inflight",
        "return self.leased and not self.deliveries",
        "return self.leased",
        "session",
    ),
    Fault(
        "calls about who delivers overtake each other",
        "session_calls",
        "        if self.under_way is not None:\n            return []",
        "        if False:\n            return []",
        "session",
    ),
    Fault(
        "a session is forgotten while the store does not know what was acknowledged",
        "inflight",
        "return not (self.deliveries or self.acked or self.leased)",
        "return not (self.deliveries or self.leased)",
        "session",
    ),
    Fault(
        "the customer is taken for gone though they spoke here meanwhile",
        "session",
        "if self.calls.attachments != asked.attachments:",
        "if False:",
    ),
    Fault("nobody looks again after a failure", "session", "return [*self._rest(), Retry()]", "return []"),
    Fault(
        "messages that were being fetched when their connection closed are sent to nobody",
        "session",
        "if self.connection != asked.connection or inflight.cursor != after:",
        "if False:",
    ),
    Fault(
        "what DMS may have is posted again",
        "retry_policy",
        "return not self.possibly_delivered and not self.permanent",
        "return not self.permanent",
        "outbox",
    ),
    Fault(
        "two calls that store messages are under way at once",
        "pending_messages",
        "if self.enqueuing or not self.incoming:",
        "if not self.incoming:",
        "outbox",
    ),
    Fault(
        "a message that a late answer hands out is posted though another is being posted",
        "outbox",
        "        if self._takes:\n            self._takes = False\n            effects += self.taken(first, now)",
        "        self._takes = False\n        if first is not None:\n            effects += self._post(first, now)",
    ),
    Fault(
        "the store may have handed out a message, and nobody asks for it again",
        "outbox",
        '        self.phase = "waiting"\n        return self._retry_in(LOOK_AGAIN_SECONDS, now)',
        '        self.phase = "idle"\n        return []',
    ),
    Fault(
        "the store does not know that a message only waits for its next try",
        "outbox",
        "return [report, Postpone(message.number, give_up=False), *self._retry_in(seconds, now)]",
        "return [report, *self._retry_in(seconds, now)]",
    ),
    Fault(
        "an outcome that the store could not be told is not told again",
        "outbox",
        "return [*self._tell(), *self._retry_in(LOOK_AGAIN_SECONDS, now)]",
        "self._done_with_message()\n        return self._tell()",
    ),
    Fault(
        "the outcome of a message whose sender is elsewhere is kept for nobody",
        "outbox",
        "self._tell_later = not self.messages.has(message.key)",
        "self._tell_later = False",
    ),
    Fault(
        "while it stops it goes on with the next message",
        "outbox",
        "if self.is_stopping and message is not None:",
        "if False:",
    ),
    Fault(
        "the outcome of a message that another instance posts is looked for only once",
        "outbox",
        "return [*self.messages.looked(outcomes), *self._look_later(now)]",
        "return [*self.messages.looked(outcomes)]",
    ),
    Fault(
        "one that waited for too long is posted all the same",
        "outbox",
        "if self.ttl_seconds and age_seconds > self.ttl_seconds:",
        "if False:",
    ),
    Fault(
        "news during a reading is not looked at",
        "feed",
        "follower.is_behind = True\n        return self._next()",
        "pass\n        return self._next()",
    ),
    Fault(
        "an entry goes out again to who is further",
        "feed",
        "if entry.number > follower.cursor]\n        effects",
        "]\n        effects",
    ),
    Fault("a page does not wait for the one before", "feed", "return not self.in_flight", "return True"),
    Fault(
        "a change that is known for one is not told to another",
        "feed",
        "min(each.changes for each in ready.values())",
        "max(each.changes for each in ready.values())",
    ),
    Fault(
        "a failed reading is not repeated",
        "feed",
        "return [RetryLater()]\n\n    def removed",
        "return []\n\n    def removed",
    ),
    Fault("more than was read counts as read", "feed", "follower.is_behind = follower.is_behind or answer.more", "pass"),
    Fault("the last page is not told from others", "feed", "follower.is_live = not answer.more", "follower.is_live = True"),
    Fault(
        "a change is told of what the client does not have",
        "feed",
        "if entry.number <= follower.cursor and entry.changed",
        "if entry.changed",
    ),
    Fault("a cursor from elsewhere is believed", "feed", "if follower.cursor > answer.latest:", "if False:"),
    Fault("what is acknowledged stays in the mailbox", "feed", "self.queued_done.update(queued)", "pass"),
    Fault("who leaves is still told of news", "feed", "return [Unfollow()] if followed else []", "return []"),
    Fault(
        "who joins is served by others' readings",
        "feed",
        "if first.is_joining:\n            ready = {connection: first}",
        "if first.is_joining:\n            pass",
    ),
    Fault("changes are not told", "feed", "for entry in sorted(changed, key=lambda each: each.changed)", "for entry in []"),
)


def tests_of(fault: Fault) -> list[str]:
    """Single cases first: they take no time."""
    names = sorted(path.name for path in (ROOT / "tests" / "core").glob(f"test_{fault.test or fault.module}*.py"))
    return [f"tests/core/{name}" for name in reversed(names)]


def main() -> int:
    missed = 0
    for fault in [
        fault for fault in FAULTS if {fault.test or fault.module} & set(sys.argv[1:] or ["session", "outbox", "feed"])
    ]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("lchook/__init__.py", "lchook/core", "tests/__init__.py", "tests/core", "pyproject.toml"):
                source, target = ROOT / part, folder / part
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target)
                elif source.exists() and part != "lchook/__init__.py":
                    shutil.copy(source, target)
                else:
                    target.touch()
            (folder / "conftest.py").write_text(NO_SHRINKING)
            module = folder / "lchook" / "core" / f"{fault.module}.py"
            text = module.read_text()
            if text.count(fault.old) != 1:
                print(f"{fault.what}: its place in {fault.module}.py is not found once", flush=True)
                missed += 1
                continue
            module.write_text(text.replace(fault.old, fault.new))
            run = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-x",
                    "-p",
                    "no:cacheprovider",
                    *tests_of(fault),
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            caught = re.findall(r"^FAILED \S+?::(\S+)", run.stdout, re.MULTILINE)
            why = re.findall(r"^E +(?:AssertionError: )?(.*)$", run.stdout, re.MULTILINE)
            missed += run.returncode != 1
            print(
                f"{fault.what}: {'found by ' + ', '.join(caught) if run.returncode == 1 else 'NOT FOUND'} ({why[:1]})",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
