"""Streams: one look for all, only what changed to each, no place is lost, and an end when the process ends."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.patience import patient, wait_for
from webhook.api.event_watch import MOST_WAITING as MOST_FOR_EVENTS
from webhook.console import stream as streaming
from webhook.console.stream import MOST_STREAMS, Frame, Stream, Streams
from webhook.waiting import MOST_WAITING, THREADS


class Scene:
    """What is seen, how often somebody looked, and whether they can."""

    def __init__(self) -> None:
        self.parts = {"a": "<p>1</p>", "b": "<p>2</p>"}
        self.looks = 0
        self.is_away = False

    def look(self, view: str) -> Frame:
        self.looks += 1
        if self.is_away:
            raise OSError("the ledger is away")
        return Frame(f"<whole {view}>", dict(self.parts))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_PAUSE", 0.02)
    monkeypatch.setattr(streaming, "_BEAT", 0.2)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def streams(scene: Scene) -> Iterator[Streams[str]]:
    found = Streams(scene.look, most=3)
    yield found
    found.close()
    assert wait_for(lambda: not is_looking(), 5)


def is_looking() -> bool:
    return any(thread.name == "streams" for thread in threading.enumerate())


def opened(streams: Streams[str], view: str = "board") -> Stream[str]:
    found = streams.open(view)
    assert found is not None
    return found


def until(stream: Stream[str], is_it: Callable[[bytes], bool]) -> bytes:
    """The next message of that kind."""
    return next(one for one in stream if is_it(one))


def test_the_first_message_is_all_and_the_next_only_what_changed(streams: Streams[str], scene: Scene) -> None:
    mine = opened(streams)
    assert next(mine) == b"id: 1\nretry: 1000\ndata: <whole board>\n\n"
    scene.parts["b"] = "<p>3</p>"
    assert until(mine, lambda one: b"beat" not in one) == b"id: 1\nretry: 1000\ndata: <p>3</p>\n\n"
    mine.close()


def test_all_is_sent_again_when_there_are_other_parts(streams: Streams[str], scene: Scene) -> None:
    mine = opened(streams)
    next(mine)
    scene.parts = {"c": "<p>new</p>", **scene.parts}
    assert b"<whole board>" in until(mine, lambda one: b"beat" not in one)
    mine.close()


def test_nothing_new_is_a_beat_with_its_age(streams: Streams[str]) -> None:
    mine = opened(streams)
    next(mine)
    assert next(mine) == b"event: beat\ndata: 0\n\n"
    mine.close()


def test_several_watch_the_same_with_one_look_and_who_comes_late_gets_all(streams: Streams[str], scene: Scene) -> None:
    first = opened(streams)
    next(first)
    before = scene.looks
    late = opened(streams)
    assert b"<whole board>" in next(late)
    # It was seen already.
    assert scene.looks - before <= 2
    first.close()
    late.close()


def test_nobody_looks_while_nobody_watches(streams: Streams[str], scene: Scene) -> None:
    assert not is_looking()
    mine = opened(streams)
    next(mine)
    assert is_looking()
    mine.close()
    assert wait_for(lambda: not is_looking(), 5)
    again = opened(streams)
    assert b"<whole board>" in next(again)
    again.close()


def test_beyond_the_cap_there_is_no_place_until_one_leaves(streams: Streams[str]) -> None:
    taken = [opened(streams, str(number)) for number in range(3)]
    assert streams.open("board") is None
    # One that was never read from, as when its reader is gone at once.
    taken[0].close()
    taken[0].close()
    taken.append(opened(streams))
    assert streams.open("board") is None
    for one in taken:
        one.close()


def test_an_outage_is_told_by_the_age_and_is_over_by_itself(
    streams: Streams[str], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = opened(streams)
    next(mine)
    scene.is_away = True
    before = scene.looks
    assert wait_for(lambda: scene.looks > before + 1, 5)
    now = streaming.time.monotonic
    monkeypatch.setattr(streaming.time, "monotonic", lambda: now() + 60)
    until(mine, lambda one: one in {b"event: beat\ndata: 60\n\n", b"event: beat\ndata: 61\n\n"})
    scene.is_away, scene.parts["a"] = False, "<p>back</p>"
    assert b"<p>back</p>" in until(mine, lambda one: b"beat" not in one)
    mine.close()


def test_a_stream_ends_itself_after_a_while(streams: Streams[str]) -> None:
    mine = opened(streams)
    next(mine)
    mine.ends_at = 0.0
    assert list(mine) == []
    assert mine.is_left


def test_streams_end_at_once_when_the_process_does(streams: Streams[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_BEAT", patient(60))
    mine = opened(streams)
    next(mine)
    ended = threading.Event()
    reader = threading.Thread(target=lambda: (list(mine), ended.set()))
    reader.start()
    streams.close()
    assert ended.wait(patient(5))
    reader.join()
    assert streams.open("board") is None


def test_what_was_changed_by_somebody_is_looked_at_at_once(
    streams: Streams[str], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_PAUSE", patient(60))
    mine = opened(streams)
    next(mine)
    scene.parts["a"] = "<p>paused</p>"
    streams.hurry()
    assert b"<p>paused</p>" in until(mine, lambda one: b"beat" not in one)
    mine.close()


def test_lines_of_html_are_lines_of_one_message() -> None:
    assert streaming.message("<p>\n1</p>\r2\n") == b"id: 1\nretry: 1000\ndata: <p>\ndata: 1</p>\ndata: 2\n\n"


def test_a_quarter_of_the_threads_is_left_for_those_who_do_not_wait() -> None:
    assert MOST_WAITING + MOST_FOR_EVENTS + MOST_STREAMS <= THREADS * 3 // 4
