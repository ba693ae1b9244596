"""A request that is broken off between what it did and its answer, as by the death of its process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker.ledger.access import Once
from worker.ledger.access.long_requests import LongRequests


class BrokenOff(BaseException):
    pass


@contextmanager
def broken_off() -> Iterator[None]:
    """What is asked within is carried out, and neither kept nor answered; its lease is over."""

    def break_off(requests: LongRequests, once: Once, _: object) -> None:
        requests.give_up_request(once)
        raise BrokenOff

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LongRequests, "keep_request", break_off)
        with pytest.raises(BrokenOff):
            yield
