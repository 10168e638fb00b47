"""Where files are kept, how they are judged, and what becomes of them when something fails. Real disks, sockets and S3."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from lchook import create_app
from lchook.core.fetch_rules import AttachmentHosts
from lchook.core.messages import MessageToCustomer
from lchook.core.stored_files import PENDING
from lchook.doctor.files import examine_files
from lchook.files import FilesError
from lchook.files import download as download_module
from lchook.files.download import DownloadError, Downloads
from lchook.files.files import Files
from lchook.files.scanner import Clamd, ScannerError
from lchook.sandbox.dms import SandboxDms
from tests.support.clamd import EICAR, StandIn, running_clamd, stand_in
from tests.support.http_answers import answering
from tests.support.jwts import ISSUER, SECRET
from tests.support.peers import peer, read_request
from tests.support.s3_server import S3Server, running_s3
from tests.support.tools import needs
from tests.unit.conftest import Clock

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
Create = Callable[..., Files]


def at_once(seconds: float, function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def start(task: Callable[..., object], *args: object) -> None:
    threading.Thread(target=task, args=args, daemon=True).start()


def at_first(task: Callable[..., object], *args: object) -> None:
    task(*args)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/files"
    server: S3Server = request.getfixturevalue("s3")
    return server.files_url(tmp_path.name)


@pytest.fixture
def create(tmp_path: Path, clock: Clock) -> Create:
    def create(
        url: str = f"file://{tmp_path}/files", *, call: Any = at_once, start_task: Any = at_first, **more: Any
    ) -> Files:
        usual: dict[str, Any] = {"dms_url": "http://x/", "jwt_issuer": ISSUER, "jwt_secret": SECRET}
        usual |= {"files_url": url, "public_url": "https://hook.example", "files_ttl_seconds": 3600.0, "file_rate": 0.0}
        settings = Settings(**usual | more)
        return Files(settings, folder=tmp_path, call=call, start_task=start_task, clock=clock)

    return create


def reader(content: bytes) -> Callable[[int], bytes]:
    left = memoryview(content)

    def read(size: int) -> bytes:
        nonlocal left
        piece, left = bytes(left[:size]), left[size:]
        return piece

    return read


def asked(content: bytes = PNG, name: str = "a.png") -> dict[str, Any]:
    return {"name": name, "size": len(content)}


def key_and_token(answer: dict[str, Any]) -> tuple[str, str]:
    upload = answer["upload"]
    return upload["url"].partition("/files/")[2], upload["headers"]["Authorization"].removeprefix("Bearer ")


def upload(
    files: Files, content: bytes = PNG, customer: str = "Ada", name: str = "a.png"
) -> tuple[str, int, dict[str, Any]]:
    """The key, and the answer to the upload."""
    key, token = key_and_token(files.uploads.grant(customer, asked(content, name)))
    return key, *files.uploads.receive(key, token, len(content), reader(content))


def content_of(files: Files, key: str) -> bytes | None:
    found = files.store.open(key)
    return None if found is None else b"".join(found[1])


# Buckets


def test_what_is_kept_can_be_had_until_its_end(create: Create, url: str, clock: Clock) -> None:
    files, large = create(url), PNG + os.urandom(6_000_000)
    key, status, answer = upload(files, large, name="Übersicht.png")

    assert (status, answer["type"]) == (201, "image/png")
    assert content_of(files, key) == large
    header, _ = files.store.open(key) or pytest.fail("it is gone")
    assert (header.name, header.size, header.is_inline, header.verdict) == ("Übersicht.png", len(large), True, "unscanned")
    clock.now += 3600
    assert files.store.open(key) is None
    assert files.store.sweep() == (1, [])
    assert files.store.sweep() == (0, [])
    assert list(files.store._bucket.objects()) == []


def test_a_customers_files_are_forgotten_and_nobody_elses(create: Create, url: str) -> None:
    files = create(url)
    hers, _, _ = upload(files)
    his, _, _ = upload(files, customer="Bob")
    files.store.remember(files.store.keys.new_key("Ada", "a", ttl_seconds=60), b"{}", within_seconds=5)

    assert files.of("").forget("Ada") == 2
    assert (content_of(files, hers), content_of(files, his)) == (None, PNG)
    assert files.of("").forget("Ada") == 0


def test_customers_of_two_connections_with_equal_ids_own_other_files(create: Create, url: str) -> None:
    files = create(url)
    kept = {}
    for connection in ("", "blue", "green"):
        answers: list[dict[str, Any]] = []
        files.of(connection).request("Ada", asked(PNG, "a.png"), answers.append)
        key, token = key_and_token(answers[0])
        assert files.uploads.receive(key, token, len(PNG), reader(PNG))[0] == 201
        kept[connection] = key
    assert len({key.partition("/")[0] for key in kept.values()}) == 3

    assert files.of("blue").forget("Ada") == 1
    assert {name for name, key in kept.items() if content_of(files, key)} == {"", "green"}
    # Nobody's id is taken for that of another connection's customer.
    assert files.of("").forget("green/Ada") == 0


def test_what_is_no_file_of_lchs_is_left_alone(create: Create, url: str, clock: Clock) -> None:
    files = create(url)
    files.store._bucket.put_bytes("other/thing", b"x")
    clock.now += 10**9
    assert files.store.sweep() == (0, [])
    assert files.store._bucket.read("other/thing", 0, 9) == b"x"


def test_an_upload_whose_answer_was_lost_changes_nothing(create: Create, url: str) -> None:
    files = create(url)
    key, token = key_and_token(files.uploads.grant("Ada", asked()))
    first = files.uploads.receive(key, token, len(PNG), reader(PNG))
    second = files.uploads.receive(key, token, len(PNG), reader(bytes(len(PNG))))

    assert (first[0], second[0]) == (201, 200)
    assert content_of(files, key) == PNG


def test_a_bucket_that_is_away_is_told_in_words(create: Create, caplog: pytest.LogCaptureFixture) -> None:
    files = create("s3://key:secret@no-bucket/x?region=eu-west-1&endpoint=http://127.0.0.1:9")
    assert files.uploads.grant("Ada", asked()) == {"error": "files cannot be taken at the moment: try again later"}
    with pytest.raises(FilesError, match="S3 cannot be reached"):
        files.store.check()
    assert "secret" not in caplog.text


def test_a_bucket_that_refuses_is_told_in_words(create: Create, s3: S3Server) -> None:
    wrong_key = create(s3.files_url("x").replace(f":{s3.secret}@", ":wrong@"))
    with pytest.raises(FilesError, match="S3 answers 403 SignatureDoesNotMatch"):
        wrong_key.store.check()


def test_a_full_disk_refuses_the_upload_and_leaves_nothing(
    create: Create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = create()

    def full(self: Any, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("lchook.files.spool.Incoming._write", full)
    key, status, answer = upload(files)

    assert (status, answer["error"]) == (507, "there is no room for files at the moment: try again later")
    assert content_of(files, key) is None
    assert not list((tmp_path / "files" / ".incoming").iterdir())


def test_a_disk_that_stalls_is_given_up(create: Create) -> None:
    def late(seconds: float, function: Callable[..., Any], *args: Any) -> Any:
        raise TimeoutError

    files = create(call=late)
    assert "try again" in files.uploads.grant("Ada", asked())["error"]


def test_what_a_killed_process_left_is_deleted(create: Create, tmp_path: Path) -> None:
    files = create()
    upload(files)
    old, new = (tmp_path / "files" / ".incoming" / name for name in ("old.part", "new.part"))
    beside = tmp_path / "files" / ".1.tmp"
    for path in (old, new, beside):
        path.write_bytes(b"half")
    for path in (old, beside):
        os.utime(path, (0, 0))
    files.store.sweep()

    assert (old.exists(), new.exists(), beside.exists()) == (False, True, False)


# Bounds


def test_quotas_count_what_is_kept_and_what_is_promised(create: Create, clock: Clock) -> None:
    files = create(files_quota_bytes=3 * len(PNG), files_quota=100)
    for _ in range(2):
        upload(files)
    files.uploads.grant("Ada", asked())

    assert "there is no room" in files.uploads.grant("Ada", asked())["error"]
    assert "upload" in files.uploads.grant("Bob", asked())
    # What was asked for and never sent.
    clock.now += 901
    assert "upload" in files.uploads.grant("Ada", asked())
    clock.now += 3600
    assert "upload" in files.uploads.grant("Ada", asked())


def test_the_number_of_files_is_bounded(create: Create) -> None:
    files = create(files_quota=2)
    upload(files)
    files.uploads.grant("Ada", asked())
    assert "at most 2" in files.uploads.grant("Ada", asked())["error"]


def test_the_rate_of_requests_is_bounded(create: Create) -> None:
    files = create(file_rate=0.2)
    answers = [files.uploads.grant("Ada", asked()) for _ in range(5)]
    assert [("upload" in answer) for answer in answers] == [True, True, False, False, False]
    assert "upload" in files.uploads.grant("Bob", asked())


def test_uploads_at_once_are_bounded(create: Create) -> None:
    files = create()
    grants = [key_and_token(files.uploads.grant("Ada", asked())) for _ in range(7)]
    going, stop = threading.Semaphore(0), threading.Event()

    def read(size: int) -> bytes:
        going.release()
        stop.wait(10)
        return b""

    threads = [
        threading.Thread(target=files.uploads.receive, args=(key, token, len(PNG), read)) for key, token in grants[:6]
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        going.acquire(timeout=10)
    key, token = grants[6]
    assert files.uploads.receive(key, token, len(PNG), reader(PNG))[0] == 503
    stop.set()
    for thread in threads:
        thread.join(10)
    assert files.uploads.under_way() == 0
    assert files.uploads.receive(key, token, len(PNG), reader(PNG))[0] == 201


def test_what_is_of_no_use_is_refused_before_all_of_it_has_come(create: Create) -> None:
    files, content = create(), b"<html>" + bytes(1_000_000)
    key, token = key_and_token(files.uploads.grant("Ada", asked(content)))
    read_bytes = 0

    def read(size: int) -> bytes:
        nonlocal read_bytes
        read_bytes += size
        return content[read_bytes - size : read_bytes]

    assert files.uploads.receive(key, token, len(content), read)[0] == 415
    assert read_bytes < 100_000


def test_a_grant_is_over_after_a_while(create: Create, clock: Clock) -> None:
    files = create()
    key, token = key_and_token(files.uploads.grant("Ada", asked()))
    clock.now += 901
    assert files.uploads.receive(key, token, len(PNG), reader(PNG))[0] == 403


# The scanner


@pytest.fixture
def clamd() -> Iterator[StandIn]:
    with stand_in() as clamd:
        yield clamd


def test_nobody_can_fetch_a_file_before_it_is_judged(create: Create, clamd: StandIn) -> None:
    files = create(clamd_url=clamd.url)
    infected, status, answer = upload(files, EICAR + b"\nand more")
    clean, _, _ = upload(files)

    assert (status, content_of(files, infected)) == (422, None)
    assert "virus" in answer["error"]
    assert content_of(files, clean) == PNG
    header, _ = files.store.open(clean) or pytest.fail("it is gone")
    assert (header.verdict, clamd.scanned) == ("clean", 2)


@pytest.mark.parametrize("answer", [b"", b"rubbish\0", b"INSTREAM size limit exceeded. ERROR\0", b"\xff" * 5000])
def test_a_scanner_that_does_not_say_lets_nothing_through(create: Create, clamd: StandIn, answer: bytes) -> None:
    clamd.answer = answer
    files = create(clamd_url=clamd.url)
    key, status, _ = upload(files)
    assert (status, content_of(files, key)) == (503, None)


def test_a_scanner_that_is_away_lets_nothing_through(create: Create, tmp_path: Path) -> None:
    for url in ("tcp://127.0.0.1:9", f"unix://{tmp_path}/none.ctl"):
        files = create(clamd_url=url)
        key, status, answer = upload(files)
        assert (status, content_of(files, key)) == (503, None)
        assert "try again later" in answer["error"]
        with pytest.raises(ScannerError):
            Clamd(url).ping()


def test_the_real_daemon_finds_the_test_virus(create: Create) -> None:
    with running_clamd(needs("clamd")) as url:
        files = create(clamd_url=url)
        assert upload(files, EICAR)[1] == 422
        assert upload(files)[1] == 201


# From agents


def message(url: str) -> MessageToCustomer:
    return MessageToCustomer("Ada", "text", {"attachments": [{"url": url, "file_name": "a.png"}]})


def fetched(files: Files, url: str) -> tuple[str, str]:
    """The key and the signed source of LCH's link for an agent's file."""
    changed, pending = files.of("").replace_links(message(url))
    files.agent_files.fetch(pending)
    link = changed.payload["attachments"][0]["url"]
    return pending[0].key, link.partition("?source=")[2]


def ok(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content


def test_an_infected_file_of_an_agents_is_not_handed_out_nor_led_on_to(create: Create, clamd: StandIn) -> None:
    with peer(answering(ok(EICAR))) as address:
        files = create(clamd_url=clamd.url, attachment_hosts=(f"http://{address}",))
        key, source = fetched(files, f"http://{address}/x")
        header, _ = files.agent_files.open(key, source)  # type: ignore[misc]
    assert header.verdict == "infected"


def test_what_the_process_before_has_noted_is_fetched_by_the_next(create: Create, url: str) -> None:
    with peer(answering(ok(PNG))) as address:
        hosts = (f"http://{address}",)
        killed = create(url, attachment_hosts=hosts, start_task=lambda *_: None)
        key, _ = fetched(killed, f"http://{address}/x")
        assert content_of(killed, key) is None

        following = create(url, attachment_hosts=hosts)
        following.tick()
    assert content_of(following, key) == PNG
    assert following.store.remembered(key) is None
    assert [name for name, _ in following.store._bucket.objects() if name.endswith(PENDING)] == []


def test_what_fails_for_now_is_tried_again(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ok(PNG)]

    def serve(connection: Any) -> None:
        if read_request(connection):
            connection.sendall(answers.pop(0))

    monkeypatch.setattr("lchook.files.agent_files._RETRY_SECONDS", (0.0,))
    with peer(serve) as address:
        files = create(attachment_hosts=(f"http://{address}",))
        key, _ = fetched(files, f"http://{address}/x")
        assert content_of(files, key) is None
        files.agent_files.tick()
    assert content_of(files, key) == PNG


def test_a_bucket_that_is_away_leads_to_the_original(create: Create) -> None:
    with peer(answering(ok(PNG))) as address:
        files = create("s3://k:s@b-1/x?region=r&endpoint=http://127.0.0.1:9", attachment_hosts=(f"http://{address}",))
        key, source = fetched(files, f"http://{address}/x")
        found = files.agent_files.open(key, source)
    assert getattr(found, "source_url", None) == f"http://{address}/x"


# Downloads


def download(url: str, *hosts: str, max_bytes: int = 1000) -> bytes:
    came: list[bytes] = []
    Downloads(AttachmentHosts(hosts), max_bytes=max_bytes).download(url, came.append)
    return b"".join(came)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", "not in ATTACHMENT_HOSTS"),
        (b"HTTP/1.1 302 Found\r\nLocation: //127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "not in ATTACHMENT_HOSTS"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "not in ATTACHMENT_HOSTS"),
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", "redirected too often"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "larger than MAX_FILE_BYTES"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(1001), "larger than MAX_FILE_BYTES"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n" + bytes(1001), "larger than MAX_FILE_BYTES"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz", "compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broke off"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"rubbish\r\n\r\n", "."),
        (b"", "."),
    ],
)
def test_a_source_cannot_lead_astray_or_give_too_much(answer: bytes, reason: str) -> None:
    def serve(connection: Any) -> None:
        if read_request(connection):
            connection.sendall(answer)

    with peer(serve) as address, pytest.raises(DownloadError, match=reason):
        download(f"http://{address}/x", f"http://{address}")


def test_a_source_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "_TOTAL_SECONDS", 0.3)
    stop = threading.Event()

    def serve(connection: Any) -> None:
        if read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stop.wait(0.02):
                connection.sendall(b"x")

    with peer(serve) as address, pytest.raises(DownloadError):
        download(f"http://{address}/x", f"http://{address}")
    stop.set()


@pytest.mark.parametrize("inside", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_a_name_that_leads_inside_is_not_asked(inside: str) -> None:
    class Names:
        def addresses(self, host: str, port: int, *, within_seconds: float) -> Any:
            return [(None, None, 6, "", (inside, port))]

    downloads = Downloads(AttachmentHosts(["files.example.com"]), max_bytes=9, names=Names())  # type: ignore[arg-type]
    with pytest.raises(DownloadError, match="not public") as raised:
        downloads.download("https://files.example.com/", lambda piece: None)
    assert raised.value.is_final


# The doctor


def test_the_doctor_tries_place_scanner_and_address(tmp_path: Path, clamd: StandIn) -> None:
    usual = {"dms_url": "http://x/", "jwt_issuer": ISSUER, "jwt_secret": SECRET, "files_url": f"file://{tmp_path}/files"}
    with peer(answering(ok(b"LCH's webhook is here. DMS reaches it by POST.\n"))) as address:
        well = Settings(**usual, public_url=f"http://{address}", clamd_url=clamd.url, attachment_hosts=("x.example",))  # type: ignore[arg-type]
        found = [(finding.check, finding.status) for finding in examine_files(well, folder=tmp_path)]
    assert found == [("files", "ok"), ("scanner", "ok"), ("public url", "warning")]
    assert not list((tmp_path / "files").glob("*/*"))

    (tmp_path / "files").rmdir()
    (tmp_path / "files").write_text("no folder")
    ill = Settings(**usual, public_url="http://127.0.0.1:9", clamd_url="tcp://127.0.0.1:9")  # type: ignore[arg-type]
    found = [(finding.check, finding.status) for finding in examine_files(ill, folder=tmp_path)]
    assert found == [("files", "problem"), ("scanner", "problem"), ("public url", "problem"), ("files", "warning")]


def test_forget_removes_a_customers_files(tmp_path: Path, dms: SandboxDms) -> None:
    settings = Settings(
        dms_url=dms.url,
        jwt_issuer=ISSUER,
        jwt_secret=SECRET,
        store_url=f"sqlite://{tmp_path}/lch.sqlite3",
        files_url=f"file://{tmp_path}/files",
        public_url="https://hook.example",
    )
    app = create_app(settings)
    files = app.extensions["lch"].files
    key, status, _ = upload(files)
    assert status == 201

    ended = app.test_cli_runner().invoke(args=["forget", "Ada"])

    assert (ended.exit_code, content_of(files, key)) == (0, None)
    assert "1 files." in ended.output
