"""Values that somebody entered, in sentences."""

_SHOWN = 60


def shown(value: object) -> str:
    """The beginning of a value, for an error."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
