"""What happens beside the demo, in a thread of its own."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")

#: seconds
_LOOK_AGAIN = 0.3


class Beside(ABC):
    """Runs while its block does; leaving the block ends it, done or not."""

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
        """Look until there is something; None if the block ended before."""
        while not (found := look()):
            if self._ended.wait(_LOOK_AGAIN):
                return None
        return found

    @abstractmethod
    def _run(self) -> None: ...
