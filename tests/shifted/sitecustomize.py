"""Lets a child process live in another time: with this folder on PYTHONPATH, its wall clock is the real one plus the
seconds that the file SHIFT_FILE holds at that moment. The monotonic clock stays as it is.

Python imports it before anything else, so that every `from datetime import datetime` gets the one below.
"""

import datetime as dt
import os
import time
from typing import Any

_file = os.environ["SHIFT_FILE"]
_time, _Datetime = time.time, dt.datetime


def shifted_time() -> float:
    with open(_file, encoding="ascii") as file:  # noqa: PTH123  pathlib would import half of the library
        return _time() + float(file.read())


class _IsAnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Datetime)


class ShiftedDatetime(_Datetime, metaclass=_IsAnyDatetime):
    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        return _Datetime(*arguments, **options)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _Datetime.fromtimestamp(shifted_time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


time.time = shifted_time
dt.datetime = ShiftedDatetime  # type: ignore[misc]
