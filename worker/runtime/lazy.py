"""A thread-safe cached property."""

from collections.abc import Callable
from functools import cached_property
from threading import RLock
from typing import Any, Self, TypeVar, overload

Value = TypeVar("Value")


class locked_cached_property(cached_property[Value]):  # noqa: N801 - used as a decorator
    """A property that is built once. Since Python 3.12, `cached_property` may build one per thread and leak them.

    All instances share the property's lock, so building may use other properties, but must not wait for another thread
    that builds one.
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
