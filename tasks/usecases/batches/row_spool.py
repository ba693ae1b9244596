"""Rows of a file, kept on disk: a server process would never release the memory of its largest file."""

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, overload

from worker.ledger.generations import NewGeneration

#: rows read together
_CHUNK = 250


class RowSpool(Sequence[NewGeneration]):
    """Checked rows, in the order in which they were appended. Its file has no name and disappears with it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="darkroom-rows-")  # noqa: SIM115
        #: where each chunk begins
        self._starts: list[int] = []
        self._last: list[NewGeneration] = []

    def append(self, one: NewGeneration) -> None:
        self._last.append(one)
        if len(self._last) == _CHUNK:
            self._starts.append(self._file.seek(0, 2))
            pickle.dump(self._last, self._file, pickle.HIGHEST_PROTOCOL)
            self._last = []

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) * _CHUNK + len(self._last)

    def __iter__(self) -> Iterator[NewGeneration]:
        for number in range(len(self._starts)):
            yield from self._chunk(number)
        yield from self._last

    @overload
    def __getitem__(self, index: int) -> NewGeneration: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NewGeneration]: ...
    def __getitem__(self, index: int | slice) -> NewGeneration | Sequence[NewGeneration]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        chunk, place = divmod(range(len(self))[index], _CHUNK)
        return (self._chunk(chunk) if chunk < len(self._starts) else self._last)[place]

    def _chunk(self, number: int) -> list[NewGeneration]:
        self._file.seek(self._starts[number])
        found: list[NewGeneration] = pickle.load(self._file)  # noqa: S301  nobody else can open the file
        return found
