"""User input in messages."""

_SHOWN = 60


def shown(value: object) -> str:
    """Return the beginning of a value, for an error message."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
