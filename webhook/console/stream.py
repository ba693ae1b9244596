"""Server-sent events: one look a second at what several people watch, and to each of them only what has changed.

The protocol is htmx's (its extension `sse`): a message without a name is HTML, whose `<hx-partial>`s are put in
their places.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

View = TypeVar("View")

#: open streams of a process; each takes one of the server's threads (`webhook.waiting.THREADS`). Others poll
MOST_STREAMS = 16
#: seconds between two looks; between two messages, so that those who left are noticed; and until a stream ends itself,
#: and who watches is let in anew
_PAUSE, _BEAT, _LONGEST = 1.0, 3.0, 300.0
#: milliseconds after which a stream that ended is opened again
_RETRY = 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """What a view shows. `whole`: sent at first, and when there are other parts; `parts`: each sent as it changes."""

    whole: str
    parts: Mapping[str, str]


@dataclass(slots=True, eq=False)
class _Watched:
    """What is seen of one view. `number`: counts the frames; `seen_at`: the last look that succeeded (monotonic)."""

    seen_at: float
    frame: Frame | None = None
    number: int = 0
    streams: int = 0


class Streams(Generic[View]):
    """`look`: shows a view; if it raises, the last frame stays. Its thread lives only while somebody watches."""

    def __init__(self, look: Callable[[View], Frame], most: int = MOST_STREAMS) -> None:
        self._look = look
        self._most = most
        self._changed = Condition()
        self._watched: dict[View, _Watched] = {}
        self._open = 0
        self._is_looking = False
        self._is_closed = False
        self._is_blind = False
        self._is_hurried = False

    def open(self, view: View) -> "Stream[View] | None":
        """Take a place; None if there is none, or the process ends."""
        with self._changed:
            if self._is_closed or self._open >= self._most:
                return None
            self._open += 1
            watched = self._watched.setdefault(view, _Watched(time.monotonic()))
            watched.streams += 1
            if not self._is_looking:
                self._is_looking = True
                Thread(target=self._run, name="streams", daemon=True).start()
            elif watched.frame is None:
                self._changed.notify_all()
        return Stream(streams=self, view=view, watched=watched)

    def wait(self, stream: "Stream[View]") -> Frame | None:
        """Return the next frame for it; None if there is none for a while. Raises StopIteration at its end."""
        watched = stream.watched
        with self._changed:
            self._changed.wait_for(lambda: watched.number > stream.number or self._is_over(stream), _BEAT)
            if self._is_over(stream):
                raise StopIteration
            if watched.number == stream.number:
                return None
            stream.number = watched.number
            return watched.frame

    def leave(self, stream: "Stream[View]") -> None:
        """Give its place back; safe to repeat."""
        with self._changed:
            if stream.is_left:
                return
            stream.is_left = True
            self._open -= 1
            stream.watched.streams -= 1
            if not stream.watched.streams:
                self._watched.pop(stream.view, None)
            self._changed.notify_all()

    def hurry(self) -> None:
        """Look at once: something was changed by somebody who watches."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all streams, now and from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _is_over(self, stream: "Stream[View]") -> bool:
        return self._is_closed or stream.is_left or time.monotonic() > stream.ends_at

    def _run(self) -> None:
        while True:
            with self._changed:
                views = list(self._watched.items())
                self._is_hurried = False
                if self._is_closed or not views:
                    self._is_looking = False
                    return
            for view, watched in views:
                self._see(view, watched)
            with self._changed:
                self._changed.wait_for(self._is_wanted_now, _PAUSE)

    def _see(self, view: View, watched: _Watched) -> None:
        try:
            frame = self._look(view)
        except Exception as error:  # noqa: BLE001  those who watch are told, and it is tried again
            if not self._is_blind:
                log.warning("what is watched cannot be shown now: %s: %s", type(error).__name__, error)
            self._is_blind = True
            return
        self._is_blind = False
        with self._changed:
            watched.seen_at = time.monotonic()
            if frame != watched.frame:
                watched.frame, watched.number = frame, watched.number + 1
                self._changed.notify_all()

    def _is_wanted_now(self) -> bool:
        if self._is_closed or self._is_hurried:
            return True
        return not self._watched or any(not one.number for one in self._watched.values())


@dataclass(slots=True, eq=False, kw_only=True)
class Stream(Generic[View]):
    """One person's messages. No generator: one of those that never began is not told when it is closed."""

    streams: Streams[View]
    view: View
    watched: _Watched
    number: int = 0
    ends_at: float = field(default_factory=lambda: time.monotonic() + _LONGEST)
    is_left: bool = False
    _known: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            frame = self.streams.wait(self)
        except StopIteration:
            self.close()
            raise
        if frame is None:
            # With the seconds since the last look, for a ledger that does not answer.
            return f"event: beat\ndata: {time.monotonic() - self.watched.seen_at:.0f}\n\n".encode()
        known, self._known = self._known, frame.parts
        if known.keys() != frame.parts.keys():
            return message(frame.whole)
        return message("".join(part for name, part in frame.parts.items() if known[name] != part))

    def close(self) -> None:
        """Give the place back; safe to repeat."""
        self.streams.leave(self)


def message(html: str) -> bytes:
    """Return it as a message; its id makes known who comes again."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: 1\nretry: {_RETRY}\n{lines}\n".encode()


#: to somebody who comes again and finds no place: the page polls from now on
FULL = b"event: full\ndata:\n\n"
