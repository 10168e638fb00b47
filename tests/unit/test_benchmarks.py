"""The parts of the benchmarks that could be wrong without anybody noticing."""

from __future__ import annotations

import os
import time
from xml.etree import ElementTree

import pytest

from benchmarks import processes, wire
from benchmarks.plot import chart
from benchmarks.report import Row, figure_at_most, percentile, ratio_at_least, ratio_or_figure_at_most, table


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_any_length_come_out_whole_however_they_arrive(length: int) -> None:
    # What a server sends is a client's frame without its mask.
    client = wire.client_frame(b"x" * length)
    head = {0: 2, 126: 4, 127: 10}.get(client[1] & 0x7F, 2)
    frame = bytes((client[0], client[1] & 0x7F)) + client[2:head] + client[head + 4 :]

    buffer, taken = bytearray(), []
    for piece in (frame[:1], frame[1:3], frame[3:] + frame[:2], frame[2:]):
        buffer += piece
        taken += wire.take_frames(buffer)

    assert taken == [(wire.TEXT, b"x" * length)] * 2
    assert not buffer


def test_an_http_message_is_taken_when_its_body_is_whole() -> None:
    buffer = bytearray(b"HTTP/1.1 200 OK\r\ncontent-Length: 2\r\nX: y\r\n\r\nO")
    assert wire.take_http(buffer) is None

    buffer += b"KHTTP/1.1 204 No Content\r\n\r\n"

    assert wire.take_http(buffer) == (b"http/1.1 200 ok\r\ncontent-length: 2\r\nx: y", b"OK")
    assert wire.take_http(buffer) == (b"http/1.1 204 no content", b"")
    assert not buffer


def test_a_message_carries_its_number_in_both_directions() -> None:
    assert wire.number_in(wire.client_message(7, 42)) == 42
    assert wire.number_in(wire.webhook(7, 43, "Bearer x")) == 43
    assert wire.number_in(b'42["serverMessage",{}]') == 0


def test_cpu_time_is_that_of_the_process_itself() -> None:
    before = processes.cpu_seconds([os.getpid()])
    started = time.process_time()
    while time.process_time() < started + 0.1:
        pass

    used = processes.cpu_seconds([os.getpid()]) - before

    # The kernel counts in hundredths.
    assert 0.08 <= used <= 0.5


def test_the_tree_of_a_process_has_it_and_its_descendants() -> None:
    assert os.getpid() in processes.tree(os.getppid())


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    assert percentile(range(1, 101), 99) == 99
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([5.0], 99) == 5.0


def test_ratios_are_taken_round_by_round() -> None:
    assert Row("what", "unit", [2.0, 9.0], [1.0, 3.0]).ratios == [2.0, 3.0]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("", "", [13.0], [10.0], target=ratio_at_least(1.3)), "reached"),
        (Row("", "", [12.0], [10.0], target=ratio_at_least(1.3)), "NOT REACHED"),
        (Row("", "", [13.0], target=ratio_at_least(1.3)), "not measured"),
        (Row("", "", [13.0], [10.0]), ""),
        (Row("", "", [4.9], [1.0], target=ratio_or_figure_at_most(1.5, 5, "ms")), "reached"),
        (Row("", "", [14.0], [10.0], target=ratio_or_figure_at_most(1.5, 5, "ms")), "reached"),
        (Row("", "", [16.0], [10.0], target=ratio_or_figure_at_most(1.5, 5, "ms")), "NOT REACHED"),
        (Row("", "", [], target=figure_at_most(40, "KB")), "not measured"),
    ],
)
def test_a_target_is_reached_only_where_it_was_measured_and_kept(row: Row, verdict: str) -> None:
    assert row.verdict() == verdict


def test_the_table_shows_figures_ratios_and_targets() -> None:
    text = table([Row("messages", "per CPU s", [1200.0, 1300.0, 1400.0], [1000.0] * 3, target=ratio_at_least(1.3))])

    assert [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")] == [
        "messages",
        "per CPU s",
        "1,300",
        "Node 1,000",
        "1.2 - 1.3 - 1.4",
        "≥ 1.3 x",
        "reached",
    ]


def test_a_chart_has_a_line_for_each_name_even_with_zero_on_its_axis() -> None:
    svg = ElementTree.fromstring(chart("cost", "waiting <now>", "µs", {"a": [(0, 1), (1000, 2)], "b": [(0, 3), (1000, 4)]}))

    lines = svg.findall("{http://www.w3.org/2000/svg}polyline")

    assert [line.get("stroke") for line in lines] == ["#0b6e4f", "#c8553d"]
    assert all(line.get("points", "").startswith("70.0,") for line in lines)
