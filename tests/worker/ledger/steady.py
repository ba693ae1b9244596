"""A steady clock that stands still until a test moves it."""

from datetime import timedelta


class Steady:
    def __init__(self) -> None:
        self.now = timedelta(days=3)

    def __call__(self) -> timedelta:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by
