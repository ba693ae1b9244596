"""A provider's list of its tasks, read in pages, so that a front door can show how far it is."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from worker.providers import ListedTask

T = TypeVar("T")

#: how a list is read in pages: whose it is, its tasks, how many at once
Pages = Callable[[str, Iterator[ListedTask], int], Iterator[list[ListedTask]]]


def in_pages(title: str, tasks: Iterator[T], size: int) -> Iterator[list[T]]:  # noqa: ARG001  who shows progress names it
    """Up to `size` at a time; `title` is whose list it is."""
    while page := list(islice(tasks, size)):
        yield page
