"""The public id of an event, the same at every door: `evt_57_18c2f0a1b2c`."""

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(r"evt_([1-9]\d{0,17})_([0-9a-f]{1,13})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def public_id(event_id: int, at: datetime) -> str:
    """Return the public id of an event. It contains the time, because a restored ledger reuses event numbers."""
    return f"evt_{event_id}_{_milliseconds(at):x}"


def number_of(text: str) -> int | None:
    """Return the number in a public id; None for any other text."""
    found = _FORM.fullmatch(text)
    return int(found[1]) if found else None


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
