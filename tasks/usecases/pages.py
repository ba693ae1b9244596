"""Reads a provider's task list in pages, so that a front door can show progress."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from worker.providers import ListedTask

T = TypeVar("T")

#: splits a list into pages: the list's title, its tasks, the page size
Pages = Callable[[str, Iterator[ListedTask], int], Iterator[list[ListedTask]]]


def in_pages(title: str, tasks: Iterator[T], size: int) -> Iterator[list[T]]:  # noqa: ARG001  progress displays use it
    """Yield up to `size` tasks at a time; `title` names the list's provider and account."""
    while page := list(islice(tasks, size)):
        yield page
