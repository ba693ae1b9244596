"""What a command did with many generations, in one line."""

from collections.abc import Mapping


def totals(done: Mapping[str, int], left: Mapping[str, int]) -> str:
    """Such as `110 cancelled; 11 left alone: 9 submitted, 2 archived`."""
    return _listed(done) + (f"; {sum(left.values()):,} left alone: {_listed(left)}" if left else "")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items(), key=lambda item: -item[1]))
