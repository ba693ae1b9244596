"""Server-sent events: renders each watched view once a second, and sends each viewer only the changes.

The protocol is htmx's (its extension `sse`): a message without a name is HTML, whose `<hx-partial>`s replace
their targets.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

View = TypeVar("View")

#: open streams of a process; each occupies one of the server's threads (`webhook.waiting.THREADS`). Other pages poll
MOST_STREAMS = 16
#: seconds between renderings; between messages, so that closed connections are noticed; and until a stream ends
#: itself, so that its viewer is authenticated again
_PAUSE, _BEAT, _LONGEST = 1.0, 3.0, 300.0
#: milliseconds after which a browser reopens an ended stream
_RETRY = 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """What a view shows. `whole`: sent first, and when the set of parts changes; `parts`: each sent as it changes."""

    whole: str
    parts: Mapping[str, str]


@dataclass(slots=True, eq=False)
class _Watched:
    """The state of one view. `number`: counts the frames; `seen_at`: the last successful rendering (monotonic)."""

    seen_at: float
    frame: Frame | None = None
    number: int = 0
    streams: int = 0


class Streams(Generic[View]):
    """`look` renders a view; if it raises, the last frame stays. The thread lives only while streams are open."""

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
        """Open a stream; None if there are too many, or the process is ending."""
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
        """Return the next frame; None if there is none for a while. Raises StopIteration at the stream's end."""
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
        """Release the stream's place; safe to repeat."""
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
        """Render at once, because a viewer changed something."""
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
        except Exception as error:  # noqa: BLE001  viewers see how old the frame is, and it is retried
            if not self._is_blind:
                log.warning("could not refresh what browsers watch: %s: %s", type(error).__name__, error)
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
    """One viewer's messages. Not a generator: closing one that never started would run none of its code."""

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
            # With the seconds since the last rendering, in case the ledger does not answer.
            return f"event: beat\ndata: {time.monotonic() - self.watched.seen_at:.0f}\n\n".encode()
        known, self._known = self._known, frame.parts
        if known.keys() != frame.parts.keys():
            return message(frame.whole)
        return message("".join(part for name, part in frame.parts.items() if known[name] != part))

    def close(self) -> None:
        """Release the place; safe to repeat."""
        self.streams.leave(self)


def message(html: str) -> bytes:
    """Return it as a message; its id identifies viewers that reconnect."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: 1\nretry: {_RETRY}\n{lines}\n".encode()


#: for a viewer that reconnects and finds no place: the page polls from then on
FULL = b"event: full\ndata:\n\n"
