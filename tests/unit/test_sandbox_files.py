"""Files behind links that are signed and die."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import pytest

from lchook.sandbox.files import FILES, FileAnswer, FileStorage


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(clock: Clock) -> FileStorage:
    return FileStorage(clock=clock)


def follow(storage: FileStorage, link: str) -> FileAnswer:
    address = urlsplit(link)
    name = unquote(address.path.rpartition("/")[2])
    return storage.fetch(name, dict(parse_qsl(address.query)))


def words(answer: FileAnswer) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    assert answer.content_type == "application/xml"
    error = ElementTree.fromstring(answer.content)
    return answer.status, error.findtext("Code", ""), error.findtext("Message", "")


@pytest.mark.parametrize("name", FILES)
def test_a_link_gives_the_file(storage: FileStorage, name: str) -> None:
    answer = follow(storage, storage.link(name))
    assert (answer.status, answer.content_type, answer.content) == (200, *FILES[name])


@pytest.mark.parametrize("lives_seconds", [900, 2, 1])
def test_a_link_dies_after_its_time_and_not_before(storage: FileStorage, clock: Clock, lives_seconds: int) -> None:
    link = storage.link("harbour.svg", lives_seconds=lives_seconds)
    clock.now += lives_seconds
    assert follow(storage, link).status == 200
    clock.now += 1
    assert words(follow(storage, link)) == (403, "AccessDenied", "Request has expired")


def test_a_link_may_be_dead_when_it_comes(storage: FileStorage) -> None:
    link = storage.link("harbour.svg", lives_seconds=900, age_seconds=960)
    assert words(follow(storage, link)) == (403, "AccessDenied", "Request has expired")


def test_a_file_is_deleted_after_a_day_whatever_its_link_says(storage: FileStorage, clock: Clock) -> None:
    link = storage.link("harbour.svg", lives_seconds=7 * 24 * 3600)
    clock.now += 24 * 3600 + 1
    assert words(follow(storage, link)) == (404, "NoSuchKey", "The specified key does not exist.")


def test_a_file_that_never_was_is_not_there(storage: FileStorage) -> None:
    assert words(follow(storage, storage.link("no & such <file>")))[:2] == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda link: link.partition("?")[0], "AccessDenied"),
        (lambda link: link.replace("Expires=900", "Expires=9000"), "SignatureDoesNotMatch"),
        (lambda link: link.replace("harbour.svg", "opening-hours.txt"), "SignatureDoesNotMatch"),
        (lambda link: link.replace("Date=2", "Date=3"), "SignatureDoesNotMatch"),
        (lambda link: f"{link}0", "SignatureDoesNotMatch"),
        (lambda link: link.replace("Expires=900", "Expires=%C3%A5"), "SignatureDoesNotMatch"),
        (lambda link: f"{link}%C3%A5", "SignatureDoesNotMatch"),
    ],
    ids=["unsigned", "another time", "another file", "another date", "another signature", "no number", "no hex"],
)
def test_a_link_that_was_changed_is_refused(storage: FileStorage, change: Callable[[str], str], code: str) -> None:
    assert words(follow(storage, change(storage.link("harbour.svg"))))[:2] == (403, code)


def test_links_of_another_start_are_refused(storage: FileStorage, clock: Clock) -> None:
    assert words(follow(FileStorage(clock=clock), storage.link("harbour.svg")))[:2] == (403, "SignatureDoesNotMatch")
