"""What a test opened and nobody closed: sockets and connections to databases, however the garbage collector is at work.

Python warns of such a socket when it collects it, which may be in another test or never, and of a SQLite connection
only from 3.13 on. Here each is remembered when it is opened, and so survives the collector, which closes what is left
in urllib3's pools as urllib3 wants it, and nothing else.
"""

import gc
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.patience import patient
from tests.postgres import WARM
from worker.media import decoding

#: seconds for the other end of a connection, which a thread of a server closes when it notices
PATIENCE = 10
_ROOT = Path(__file__).parents[1]
_OURS = tuple(str(_ROOT / part) + "/" for part in ("tests", "worker", "tasks", "webhook"))

_opened: list[tuple[Any, traceback.StackSummary]] = []
_watching = threading.Event()


def watch() -> None:
    """From now on remember what is opened."""
    _opened.clear()
    _watching.set()


@contextmanager
def lives_on() -> Iterator[None]:
    """What is opened in it belongs to the whole run, whichever file asked for it first."""
    was_watching = _watching.is_set()
    _watching.clear()
    try:
        yield
    finally:
        if was_watching:
            _watching.set()


def left_open() -> list[str]:
    """What is open of it and where it was opened; stops watching."""
    _watching.clear()
    opened, began = _opened[:], time.monotonic()
    _opened.clear()
    collections = 0
    while still := [one for one in opened if is_open(one[0])]:
        waited = time.monotonic() - began
        if waited > PATIENCE and waited > patient(PATIENCE):
            break
        time.sleep(0.01)
        # It takes long in a process that has imported everything.
        if waited > collections + 0.2:
            gc.collect()
            collections += 1
    return [f"{one!r}, opened at\n{_ours(stack)}" for one, stack in still]


def is_open(one: Any) -> bool:
    decoder = decoding._decoder._child
    if decoder is not None and one is decoder.link:
        # The one of this process, which lives as long.
        return False
    if isinstance(one, sqlite3.Connection):
        try:
            _ = one.total_changes
        except sqlite3.ProgrammingError:
            return False
        return True
    if isinstance(one, psycopg.Connection):
        return not one.closed and one.info.get_parameters().get("application_name") != WARM
    return one.fileno() != -1


def _remember(one: Any) -> None:
    if _watching.is_set():
        _opened.append((one, traceback.StackSummary.extract(traceback.walk_stack(None), lookup_lines=False)))


def _ours(stack: traceback.StackSummary) -> str:
    """Our own frames of it, the innermost last; all of a server's thread, which has none."""
    ours = [frame for frame in stack if frame.filename != __file__ and frame.filename.startswith(_OURS)]
    return "".join(traceback.format_list((ours or stack)[:8][::-1]))


def _on_audit(name: str, arguments: tuple[Any, ...]) -> None:
    if name in {"socket.__new__", "sqlite3.connect/handle"}:
        _remember(arguments[0])


# An audit hook stays as long as the process does.
sys.addaudithook(_on_audit)


@event.listens_for(Pool, "connect")
def _on_connect(connection: Any, _: object) -> None:
    # psycopg opens its own in C.
    if isinstance(connection, psycopg.Connection):
        _remember(connection)
