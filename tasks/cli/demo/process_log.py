"""The output of child processes, kept in a file; the last lines are shown when something goes wrong."""

import threading
from collections import deque
from pathlib import Path
from typing import Self

from worker.embedded import print_line
from worker.secrets import open_private

REMEMBERED_LINES = 15


class ProcessLog:
    """Collects lines from several threads. `aloud`: also print them to standard error."""

    def __init__(self, path: Path, *, aloud: bool) -> None:
        self.path = path
        self._aloud = aloud
        self._file = open(  # noqa: SIM115  Path.open has no opener; `__exit__` closes the file
            path, "a", encoding="utf-8", errors="backslashreplace", buffering=1, opener=open_private
        )
        self._lock = threading.Lock()
        self._last: deque[str] = deque(maxlen=REMEMBERED_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, name: str, line: str) -> None:
        with self._lock:
            text = f"{name:<7} | {line}"
            self._last.append(text)
            self._file.write(f"{text}\n")
        if self._aloud:
            print_line(name, line)

    def last_lines(self) -> str:
        with self._lock:
            return "\n".join(self._last)
