"""Threads that run beside the demo."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")

#: seconds
_LOOK_AGAIN = 0.3


class Beside(ABC):
    """A thread that runs during its `with` block; leaving the block ends it, finished or not."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__.lower(), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _until(self, look: Callable[[], T]) -> T | None:
        """Poll until `look` finds something; None if the block ended first."""
        while not (found := look()):
            if self._ended.wait(_LOOK_AGAIN):
                return None
        return found

    @abstractmethod
    def _run(self) -> None: ...
