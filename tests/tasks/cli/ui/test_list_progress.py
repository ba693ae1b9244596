"""How far the reading of a list has come is told on standard error, and never between results."""

from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from tasks.cli.ui import list_progress as reading
from tasks.cli.ui.list_progress import pages


def test_pages_hold_everything_in_order() -> None:
    tasks: Iterator[Any] = iter(range(5))
    assert list(pages("kie", tasks, 2)) == [[0, 1], [2, 3], [4]]


def test_elsewhere_a_line_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told_of(count: int) -> tuple[str, str]:
        tasks: Iterator[Any] = iter(range(count))
        assert sum(len(page) for page in pages("kie, account shop", tasks, 1000)) == count
        return capsys.readouterr()

    assert told_of(1500) == ("", ""), "what does not take long is not worth a word"
    monkeypatch.setattr(reading, "_PAUSE", 0)
    line = "reading the list of kie, account shop: {} so far\n"
    assert told_of(1500) == ("", line.format("1,000") + line.format("1,500"))


def test_on_a_terminal_it_is_drawn_while_it_is_read_and_is_gone_while_results_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "console", lambda **_: Console(stderr=True, force_terminal=True, width=80))
    tasks: Iterator[Any] = iter(range(3))
    for page in pages("kie", tasks, 2):
        print("result", page)
    told = capsys.readouterr()
    assert told.out == "result [0, 1]\nresult [2]\n"
    assert "reading the list of kie: 0 so far" in told.err
    assert "reading the list of kie: 2 so far" in told.err
