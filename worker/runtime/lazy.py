"""A cached property that threads may ask for at the same moment."""

from collections.abc import Callable
from functools import cached_property
from threading import RLock
from typing import Any, Self, TypeVar, overload

Value = TypeVar("Value")


class locked_cached_property(cached_property[Value]):  # noqa: N801 - used as a decorator
    """Built once: from Python 3.12 on `cached_property` builds one for each thread that asks, and nobody closes those.

    One lock for all instances, so what is built may ask for other properties, but not wait for another thread's.
    """

    def __init__(self, build: Callable[[Any], Value]) -> None:
        super().__init__(build)
        self._building = RLock()

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Value: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | Value:
        if instance is None:
            return self
        with self._building:
            return super().__get__(instance, owner)
