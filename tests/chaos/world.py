"""Customers, instances, a store, a balancer and a DMS, with things going wrong between them, and everything counted."""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from lchook.sandbox.dms import SandboxDms
from tests.chaos import counts
from tests.chaos.instance import Command, Instance, production
from tests.support.balancer import Balancer
from tests.support.chaos_clients import ChaosClient, Kind
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

# Short, so that dead connections are noticed within a test's time.
PING_SECONDS = 1.0
SETTLE_SECONDS = 2 * PING_SECONDS + 1.5
_POSTERS = 6
_SPEAKERS_PAUSE_SECONDS = 0.02

Fault = Callable[["World", random.Random], None]


class World:
    """Used as a context manager: starts everything and ends it."""

    def __init__(
        self,
        store: str,
        *,
        instances: int = 1,
        kinds: tuple[Kind, ...] = ("resume", "lcc"),
        customers: int = 20,
        seed: int = 1,
        command: Command = production,
        connections: tuple[str, ...] = ("",),
        **settings: str,
    ) -> None:
        """:param store: "memory", "sqlite" or "redis".
        :param connections: to Pega, in one hook; each has a DMS of its own, and customers with the same ids.
        """
        self.random = random.Random(seed)
        self.redis = RedisServer() if store == "redis" else None
        self._folder = tempfile.TemporaryDirectory(prefix="lch-chaos-")
        self.file = Path(self._folder.name) / "lchook.sqlite3"
        self.all_dms = {
            name: SandboxDms(issuer=ISSUER + name, secret=SECRET + name, scripted=False).start() for name in connections
        }
        # The one that has the faults.
        self.dms = self.all_dms[connections[0]]
        if len(connections) > 1:
            file = Path(self._folder.name) / "connections.toml"
            file.write_text("".join(self._entry(name) for name in connections))
            settings["CONNECTIONS"] = str(file)
        urls = {"memory": "memory:", "sqlite": f"sqlite://{self.file}", "redis": self.redis.url if self.redis else ""}
        usual = {
            "DMS_URL": self.dms.url,
            "JWT_ISSUER": ISSUER,
            "JWT_SECRET": SECRET,
            "STORE_URL": urls[store],
            "PING_INTERVAL": str(PING_SECONDS),
            "PING_TIMEOUT": str(PING_SECONDS),
            "DMS_READ_TIMEOUT": "1",
            "OUTBOX_TTL": "300",
            "LOG_LEVEL": "info,to_dms=debug",
            # A test's customers are busier than any person.
            "SOCKET_RATE": "0",
            "CUSTOMER_RATE": "0",
            "CONNECTION_RATE": "0",
        }
        self.instances = [Instance({**usual, **settings}, command=command) for _ in range(instances)]
        self.balancer = Balancer(seed=seed)
        self.clients = [
            ChaosClient(f"customer-{n}", kinds[n % len(kinds)], lambda: self.balancer.url, seed=seed * 1000 + n, pega=name)
            for n in range(customers)
            for name in connections
        ]
        self.kept: dict[tuple[str, str], list[int]] = {(client.pega, client.customer_id): [] for client in self.clients}
        # Answers to webhooks, by status; 0 where there was none.
        self.answers: dict[int, int] = {}
        self._answers_lock = threading.Lock()
        # How long instances took to end after SIGTERM.
        self.stop_seconds: list[float] = []
        self._calm = threading.Event()

    def __enter__(self) -> Self:
        try:
            if self.redis:
                self.redis.start()
            self.balancer.start()
            for instance in self.instances:
                instance.start()
            self.balancer.backends = [instance.port for instance in self.instances]
            for client in self.clients:
                client.start()
            wait_until(
                lambda: all(client.is_connected for client in self.clients),
                lambda: f"all clients; the instances say:\n{''.join(instance.log for instance in self.instances)}",
                timeout_seconds=20,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._calm.set()
        stopping = [threading.Thread(target=client.stop) for client in self.clients]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for instance in self.instances:
            instance.stop()
        self.balancer.stop()
        for dms in self.all_dms.values():
            dms.stop()
        if self.redis:
            self.redis.stop()
        self._folder.cleanup()

    # What happens

    def run(
        self, *faults: Fault, to_customer: int = 0, to_dms: int = 0, seconds: float = 8.0, patience_seconds: float = 40.0
    ) -> tuple[counts.Count, counts.Count]:
        """Send so many messages each way within about these seconds, while the faults happen; then let all be calm, wait
        until everything has arrived, and count. Returns the counts to customers and to DMS."""
        self._calm.clear()
        wreckers = [
            threading.Thread(target=fault, args=(self, random.Random(self.random.random())), daemon=True) for fault in faults
        ]
        workers = [threading.Thread(target=self._post, args=(n, to_customer, seconds), daemon=True) for n in range(_POSTERS)]
        workers.append(threading.Thread(target=self._speak, args=(to_dms, seconds), daemon=True))
        for thread in (*wreckers, *workers):
            thread.start()
        for thread in workers[-1:]:
            thread.join()
        # The last repeats of webhooks need the calm that follows.
        time.sleep(0.2)
        self._calm.set()
        for thread in (*wreckers, *workers):
            thread.join(60)
        self.dms.faults.clear()
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline and not self._all_arrived():
            time.sleep(0.1)
        self._let_the_deaf_speak(deadline)
        # What comes twice comes late.
        time.sleep(SETTLE_SECONDS)
        return self.count()

    def count(self) -> tuple[counts.Count, counts.Count]:
        lives = [life for instance in self.instances for life in instance.lives]
        lives += [(instance.server.log, "running") for instance in self.instances if instance.is_started]
        acknowledgements = counts.Acknowledgements(lives)
        to_customer = counts.Count()
        for client in self.clients:
            to_customer += counts.to_customer(client, self.kept[client.pega, client.customer_id], acknowledgements)
        to_dms, stored = counts.Count(), counts.Stored(log for log, _ in lives)
        for name, dms in self.all_dms.items():
            to_dms += counts.to_dms([each for each in self.clients if each.pega == name], dms.received, stored, name)
        return to_customer, to_dms

    @property
    def is_calm(self) -> bool:
        """The faults are to end."""
        return self._calm.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; returns whether the faults are to go on."""
        return not self._calm.wait(seconds)

    def _entry(self, name: str) -> str:
        values = {"name": name, "dms_url": self.all_dms[name].url, "jwt_issuer": ISSUER + name, "jwt_secret": SECRET + name}
        return "[[connection]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())

    def webhook(self, customer_id: str, number: int, *, url: str | None = None, pega: str = "", **fields: object) -> int:
        """Post one message once; returns LCH's status, 0 where there was none."""
        if pega:
            fields["pega"] = pega
        body = {
            "type": "text",
            "customer_id": customer_id,
            "message_id": f"m{number}",
            "csr_name": "Ada",
            "text": [f"message {number}"],
            "number": number,
            **fields,
        }
        token = mint(iss=ISSUER + pega, secret=SECRET + pega)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            answer = requests.post(
                f"{url or self.balancer.url}/webhook", data=json.dumps(body).encode(), headers=headers, timeout=8
            )
            status = answer.status_code
        except requests.RequestException:
            status = 0
        with self._answers_lock:
            self.answers[status] = self.answers.get(status, 0) + 1
        return status

    # Who does it

    def _post(self, poster: int, messages: int, seconds: float) -> None:
        """DMS: posts each message until it is answered with 200, and only then the customer's next one."""
        clients = self.clients[poster::_POSTERS]
        turns = random.Random(poster + self.random.random())
        todo = messages * len(clients) // len(self.clients)
        started = time.monotonic()
        for n in range(todo):
            client = turns.choice(clients)
            kept = self.kept[client.pega, client.customer_id]
            number = len(kept)
            for _ in range(600):
                if self.webhook(client.customer_id, number, pega=client.pega) == 200:
                    kept.append(number)
                    break
                time.sleep(0.1)
            else:
                return
            time.sleep(max(0.0, started + seconds * (n + 1) / todo - time.monotonic()))

    def _speak(self, messages: int, seconds: float) -> None:
        """The customers: each says its messages one after the other."""
        started = time.monotonic()
        if not messages:
            time.sleep(seconds)
        for n in range(messages):
            client = self.random.choice(self.clients)
            client.say(len(client.told))
            pause = started + seconds * (n + 1) / messages - time.monotonic()
            if pause > _SPEAKERS_PAUSE_SECONDS:
                time.sleep(pause)

    def _let_the_deaf_speak(self, deadline: float) -> None:
        """What became of their messages waits until they say something else."""
        deaf = [client for client in self.clients if client.kind == "deaf" and client.told]
        if not deaf:
            return
        while time.monotonic() < deadline and self.waiting_for_dms():
            time.sleep(0.2)
        for client in deaf:
            client.say(len(client.told))

    def waiting_for_dms(self) -> int:
        """How many messages are in the outbox, as the first instance that answers says; 1 where none does."""
        for instance in self.instances:
            if instance.is_started:
                text = requests.get(f"{instance.url}/metrics", timeout=5).text
                found = re.search(r"^lch_outbox_messages (\d+)", text, re.MULTILINE)
                return int(found[1]) if found else 1
        return 1

    def _all_arrived(self) -> bool:
        return all(
            {receipt.number for receipt in list(client.receipts)} >= set(self.kept[client.pega, client.customer_id])
            and not client.untold
            for client in self.clients
        )
