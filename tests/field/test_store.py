"""What the store stands on fails or stalls: those who need it are told in words and in time, and nobody else notices."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from lchook.store import StoreError, StoreListener
from lchook.store.files import network_file_system, what_hinders
from lchook.store.group_commit import BusyError, GroupCommit
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.chaos.instance import production
from tests.chaos.world import World
from tests.support.clients import PythonClient
from tests.support.redis_server import RedisServer
from tests.support.switch import Switch
from tests.support.waiting import wait_until
from tests.unit.conftest import start_thread

# A webhook is answered within about two seconds; under load, a bit later.
_ANSWER_SECONDS = 4.0
_UNNOTICED_SECONDS = 1.0

_HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(file: Path) -> Iterator[None]:
    command = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.kill()


@pytest.fixture(scope="module")
def stalling_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes writes hang: see stalling_disk.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("library") / "stalling_disk.so"
    source = Path(__file__).with_name("stalling_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Bystander:
    """Somebody who needs no store: asks for the health, and speaks by WebSocket and by polling, all the time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ends = threading.Event()
        self.slowest_seconds = 0.0
        self.rounds = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        with PythonClient(self._url) as socket, PythonClient(self._url, transports=["polling"]) as poller:
            while not self._ends.is_set():
                for does in (self._health, socket.settle, poller.settle, self._connect):
                    started = time.monotonic()
                    does()
                    self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
                self.rounds += 1

    def _health(self) -> None:
        assert requests.get(f"{self._url}/healthz", timeout=10).status_code == 200

    def _connect(self) -> None:
        PythonClient(self._url).close()


def webhooks_at_once(world: World, numbers: range) -> tuple[dict[int, int], float]:
    """Their statuses, and how long the slowest took."""
    statuses: dict[int, int] = {}
    slowest = [0.0]

    def post(number: int) -> None:
        started = time.monotonic()
        statuses[number] = world.webhook("c", number)
        slowest.append(time.monotonic() - started)

    posting = [threading.Thread(target=post, args=(number,)) for number in numbers]
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join()
    return statuses, max(slowest)


def ready(world: World) -> tuple[int, float]:
    started = time.monotonic()
    answer = requests.get(f"{world.instances[0].url}/readyz", timeout=10)
    return answer.status_code, time.monotonic() - started


def the_rest_goes_on(world: World, fails: Callable[[], None] = lambda: None) -> None:
    """While the store stalls, webhooks are refused in time, and bystanders notice nothing."""
    url = world.instances[0].url
    with Bystander(url) as bystander:
        wait_until(lambda: bystander.rounds, "a first round")
        fails()
        bystander.slowest_seconds = 0.0
        # Far more at once than the store could fail for one after the other.
        statuses, slowest = webhooks_at_once(world, range(100, 140))
        assert set(statuses.values()) == {503}
        assert slowest < _ANSWER_SECONDS
        status, seconds = ready(world)
        assert status == 503
        assert seconds < _ANSWER_SECONDS
        started = time.monotonic()
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 200
        assert time.monotonic() - started < _ANSWER_SECONDS
    assert bystander.slowest_seconds < _UNNOTICED_SECONDS
    assert "the message cannot be kept" in world.instances[0].log


def test_case_25_another_process_that_holds_a_lock_holds_up_only_those_who_need_the_file() -> None:
    with World("sqlite", customers=0, LOG_LEVEL="warning", OUTBOX_TTL="30") as world:
        url = world.instances[0].url
        assert world.webhook("c", 0) == 200
        with locked_by_another_process(world.file), PythonClient(url, auth={"customer_id": "c"}) as client:
            # What is read needs no lock.
            assert [message["number"] for message in client.wait_for_messages(1, timeout_seconds=2)] == [0]
            the_rest_goes_on(world)
            assert "another process holds a lock on it" in world.instances[0].log
        assert world.webhook("c", 100) == 200


def test_case_25_what_waits_when_the_lock_is_given_back_is_done() -> None:
    with World("sqlite", customers=0, LOG_LEVEL="warning", OUTBOX_TTL="30") as world:
        url = world.instances[0].url
        assert world.webhook("c", 0) == 200
        with PythonClient(url, auth={"customer_id": "d"}) as client:
            with locked_by_another_process(world.file):
                numbers = [
                    client.emit("clientMessage", {"customer_id": "d", "type": "text", "text": [str(n)], "message_id": n})
                    for n in range(8)
                ]
                assert world.webhook("c", 1) == 503
            assert [client.ack(number)["status"] for number in numbers] == ["sent"] * 8
            assert client.is_connected
        assert [received.body["text"] for received in world.dms.received] == [[str(n)] for n in range(8)]
        # Refused with 503, it comes again.
        assert world.webhook("c", 1) == 200
        with PythonClient(url, auth={"customer_id": "c"}) as client:
            assert [message["number"] for message in client.wait_for_messages(2)] == [0, 1]


def test_case_45_a_disk_that_hangs_holds_up_only_those_who_need_it(stalling_disk: Path, tmp_path: Path) -> None:
    flag = tmp_path / "stalls"
    settings = {
        "LD_PRELOAD": str(stalling_disk),
        "STALLED_NAME": "lchook.sqlite3",
        "STALLED_WHILE": str(flag),
        "LOG_LEVEL": "warning",
        "OUTBOX_TTL": "1",
    }
    with World("sqlite", customers=0, **settings) as world:
        assert world.webhook("c", 0) == 200
        worker = world.instances[0].server.worker_pid
        the_rest_goes_on(world, flag.touch)
        # It is known by now: nobody else waits for it.
        started = time.monotonic()
        wait_until(lambda: "it has not answered for" in refusal_of(world, 200), "a refusal at once")
        assert world.webhook("c", 201) == 503
        assert time.monotonic() - started < _ANSWER_SECONDS
        flag.unlink()
        wait_until(lambda: world.webhook("c", 1) == 200, "200")
        assert world.instances[0].server.worker_pid == worker
        # And it ends in time, though it hangs.
        flag.touch()
        assert world.webhook("c", 2) == 503
        assert world.instances[0].terminate() < 25


def refusal_of(world: World, number: int) -> str:
    world.webhook("c", number)
    return world.instances[0].log


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 0:40 / /srv/nfs rw,relatime shared:5 master:2 - nfs4 filer:/export rw,vers=4.2
31 30 8:2 / /srv/nfs/local rw - xfs /dev/sdb1 rw
32 27 0:41 / /mnt/with\040blank rw - cifs //filer/share rw
33 27 0:42 / /home/kim/remote rw - fuse.sshfs kim@host:/ rw
34 27 0:43 / /auto rw - autofs systemd-1 rw
35 34 0:44 / /auto rw - nfs filer:/auto rw
36 27 0:45 / /c rw - 9p drvfs rw
37 27 0:46 / /overlay rw - overlay overlay rw
38 27 0:47 / /gluster rw - fuse.glusterfs gl:/vol rw
39 27 8:17 / /usb rw - fuseblk /dev/sdb1 rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(path, kind, id=f"case-45-{path.replace('/', '_')}")
        for path, kind in (
            ("/srv/nfs/lch/lchook.sqlite3", "nfs4"),
            ("/srv/nfs/local/lchook.sqlite3", ""),
            ("/srv/nfsx/lchook.sqlite3", ""),
            ("/mnt/with blank/lchook.sqlite3", "cifs"),
            ("/home/kim/remote/x/y", "fuse.sshfs"),
            ("/home/kim/x", ""),
            ("/auto/x", "nfs"),
            ("/c/Users/x", "9p"),
            ("/overlay/x", ""),
            ("/gluster/x", "fuse.glusterfs"),
            ("/usb/x", ""),
            ("/x", ""),
        )
    ],
)
def test_a_network_file_system_is_known(path: str, kind: str) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_case_45_a_file_on_a_network_file_system_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"30 27 0:40 / {tmp_path} rw,relatime shared:5 - nfs4 filer:/export rw\n")
    monkeypatch.setattr("lchook.store.files._MOUNTS", mounts)
    store = SqliteStore(tmp_path / "lchook.sqlite3", ttl_seconds=60, size=10)
    store.open(StoreListener.null(), start_thread)
    store.put("c", "1", None)
    store.close()

    said = [record.getMessage() for record in caplog.records if "network file system (nfs4)" in record.getMessage()]
    assert len(said) == 1
    assert "does not work between hosts" in said[0]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
@pytest.mark.parametrize(
    ("mode", "starts_ready"), [pytest.param(0o770, True, id="case-35"), pytest.param(0o755, False, id="case-35-read-only")]
)
def test_a_random_user_of_group_0(mode: int, starts_ready: bool, tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    os.chown(folder, 10001, 0)
    folder.chmod(mode)
    # May read what root may, where the interpreter lies; and write nothing more than others.
    user = ["setpriv", "--reuid=123456", "--regid=0", "--clear-groups", "--inh-caps=+dac_read_search"]
    user.append("--ambient-caps=+dac_read_search")
    url = f"sqlite://{folder / 'lchook.sqlite3'}"
    with World("sqlite", customers=0, command=lambda port: [*user, *production(port)], STORE_URL=url) as world:
        assert ready(world)[0] == (200 if starts_ready else 503)
        assert world.webhook("c", 1) == (200 if starts_ready else 503)
        if not starts_ready:
            assert "user 123456, group 0 may not write to its folder" in world.instances[0].log


def test_the_folder_of_the_image_is_group_0s() -> None:
    """case-35: platforms start containers as a user of their own, whose group is 0."""
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert re.search(r"install -d -o lch -g 0 -m 770 instance", dockerfile)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("busy", sqlite3.SQLITE_BUSY, "another process holds a lock on it"),
        ("no database", sqlite3.SQLITE_NOTADB, "move it and the files beside it away"),
        ("corrupt", sqlite3.SQLITE_CORRUPT, "move it and the files beside it away"),
        ("full", sqlite3.SQLITE_FULL, "KiB left"),
        ("a folder", sqlite3.SQLITE_CANTOPEN, "is not what it should be, a file"),
    ],
)
def test_what_hinders_is_said(name: str, code: int, words: str, tmp_path: Path) -> None:
    path = tmp_path if name == "a folder" else tmp_path / "lchook.sqlite3"
    assert words in what_hinders(path, code)


# Groups


def test_case_25_a_group_fails_once_and_for_all() -> None:
    tries = []
    begun, goes_on = threading.Event(), threading.Event()

    def transaction(work: Callable[[None], None]) -> None:
        tries.append(work)
        begun.set()
        goes_on.wait(5)
        raise StoreError("the disk is full")

    group: GroupCommit[None] = GroupCommit(read=transaction, transaction=transaction, patience_seconds=10)
    failures: list[str] = []

    def run() -> None:
        with pytest.raises(StoreError) as failure:
            group.run(lambda _: None)
        failures.append(str(failure.value))

    threads = [start_thread(run)]
    assert begun.wait(5)
    threads += [start_thread(run) for _ in range(20)]
    wait_until(lambda: len(group._jobs) == 20, "those behind the first")
    goes_on.set()
    for thread in threads:
        thread.join(5)
    assert failures == ["the disk is full"] * 21
    assert len(tries) == 2


def test_case_25_who_has_given_up_is_surely_not_done_where_nothing_was_begun() -> None:
    free = threading.Event()

    def transaction(work: Callable[[None], None]) -> None:
        if not free.wait(0.01):
            raise BusyError("somebody has it")
        work(None)

    group: GroupCommit[None] = GroupCommit(read=transaction, transaction=transaction, patience_seconds=0.3)
    done: list[int] = []
    with pytest.raises(StoreError, match=r"did not answer within 0\.3 s: somebody has it"):
        group.run(lambda _: done.append(1))
    free.set()
    group.run(lambda _: done.append(2))
    assert done == [2]


# Redis


@contextmanager
def failed_over_pair() -> Iterator[tuple[RedisServer, RedisServer, Switch]]:
    """A primary, its replica, and what stands for their name."""
    with RedisServer() as first, RedisServer() as second, Switch(first.port) as switch:
        with second.client() as client:
            client.replicaof("127.0.0.1", str(first.port))
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica")
        yield first, second, switch


def fail_over(first: RedisServer, second: RedisServer, switch: Switch) -> None:
    with second.client() as new, first.client() as old:
        sent = old.info("replication")["master_repl_offset"]
        wait_until(lambda: int(new.info("replication")["slave_repl_offset"]) >= sent, "all that was written")
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", str(second.port))
    switch.port = second.port


def test_case_23_after_a_failover_of_redis_all_goes_on_in_seconds_and_nothing_is_lost() -> None:
    with failed_over_pair() as (first, second, switch):
        settings = {"STORE_URL": f"redis://127.0.0.1:{switch.listens_at}/0", "LOG_LEVEL": "warning"}
        with World("redis", customers=4, instances=2, kinds=("resume",), **settings) as world:
            kept = {client.customer_id: 0 for client in world.clients}

            def all_get_one() -> None:
                for client in world.clients:
                    number = kept[client.customer_id]
                    for url in (instance.url for instance in world.instances):
                        if world.webhook(client.customer_id, number, url=url) == 200:
                            kept[client.customer_id] = number + 1
                            break

            all_get_one()
            fail_over(first, second, switch)
            started = time.monotonic()
            for _ in range(5):
                all_get_one()
            assert time.monotonic() - started < 10
            wait_until(
                lambda: all(len(client.receipts) == kept[client.customer_id] for client in world.clients),
                lambda: f"{kept}, not {[len(client.receipts) for client in world.clients]}",
            )
            for client in world.clients:
                numbers = [receipt.number for receipt in client.receipts]
                assert numbers == list(range(kept[client.customer_id]))
                assert len(numbers) >= 5


def test_case_23_who_listens_at_the_former_primary_listens_anew() -> None:
    """Its connection stays, and nobody notifies it there any more."""
    with RedisServer() as first, RedisServer() as second, Switch(first.port) as switch:
        heard: list[str] = []
        listener = StoreListener(heard.append, heard.append, lambda *_: None, lambda: None)
        store = RedisStore(f"redis://127.0.0.1:{switch.listens_at}/0", ttl_seconds=60, size=10)
        store.open(listener, start_thread)
        switch.port = second.port
        # Commands go to the new one; the listener's connection is not touched.
        store._renew(store._redis.connection_pool)
        other = RedisStore(second.url, ttl_seconds=60, size=10)
        store.claim("c", seconds_ago=0)
        other.pass_on("c", "{}")
        channel = f"lch:bell:{store._instance}"
        with second.client() as client:
            wait_until(lambda: client.pubsub_numsub(channel)[0][1] == 1, "the listener at the new one")
        store.close()


def test_case_23_a_redis_that_hangs_holds_up_only_those_who_need_it() -> None:
    with World("redis", customers=0, LOG_LEVEL="warning", OUTBOX_TTL="1") as world:
        assert world.redis
        assert world.webhook("c", 0) == 200
        the_rest_goes_on(world, world.redis.pause)
        world.redis.go_on()
        wait_until(lambda: world.webhook("c", 1) == 200, "200")
        with PythonClient(world.instances[0].url, auth={"customer_id": "c"}) as client:
            # What was refused when Redis hung may have been kept all the same; what was promised was.
            wait_until(lambda: {0, 1} <= {message["number"] for message in client.messages}, "both messages")


def test_a_redis_that_hangs_is_not_waited_for_by_hundreds_one_after_the_other() -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, ttl_seconds=60, size=10)
        store.check()
        server.pause()
        try:
            slowest: list[float] = []

            def check() -> None:
                started = time.monotonic()
                with pytest.raises(Exception, match="Redis: "):
                    store.check()
                slowest.append(time.monotonic() - started)

            threads = [start_thread(check) for _ in range(200)]
            for thread in threads:
                thread.join(20)
            assert len(slowest) == 200
            assert max(slowest) < 6
            # Known by now.
            started = time.monotonic()
            with pytest.raises(Exception, match="did not answer in time"):
                store.check()
            assert time.monotonic() - started < _UNNOTICED_SECONDS
        finally:
            server.go_on()

        wait_until(lambda: _works(store), "an answer")


def _works(store: RedisStore) -> bool:
    try:
        store.check()
    except StoreError:
        return False
    return True


@pytest.mark.parametrize(
    ("setting", "value", "undone", "words"),
    [("maxmemory", "1", "0", "maxmemory"), ("requirepass", "secret", "", "authenticat")],
    ids=["full", "a password"],
)
def test_what_redis_refuses_is_said_in_its_words_and_ends_by_itself(
    setting: str, value: str, undone: str, words: str
) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, ttl_seconds=60, size=10)
        with server.client() as client:
            client.config_set(setting, value)
            if setting == "requirepass":
                # Those who are there may stay.
                client.client_kill_filter(skipme=True, _type="normal")
            with pytest.raises(StoreError, match=words):
                store.put("c", "1", None)
            client.config_set(setting, undone)
        assert store.put("c", "2", None).kept


def test_a_name_service_that_stalls_is_asked_once_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def stalls(host: str, *args: object, **options: object) -> object:
        if host != "redis.example":
            return look_up(host, *args, **options)  # type: ignore[arg-type]
        asked.append(host)
        answers.wait(20)
        return look_up("127.0.0.1", *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", stalls)
    with RedisServer() as server:
        store = RedisStore(f"redis://redis.example:{server.port}/0", ttl_seconds=60, size=10)
        slowest: list[float] = []

        def check() -> None:
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"name service did not answer for redis\.example|in time a moment ago"):
                store.check()
            slowest.append(time.monotonic() - started)

        threads = [start_thread(check) for _ in range(100)]
        for thread in threads:
            thread.join(20)
        assert len(slowest) == 100
        assert max(slowest) < 6
        assert len(asked) == 1
        answers.set()
        wait_until(lambda: _works(store), "an answer")
