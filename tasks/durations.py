"""Formats durations for people."""

from datetime import timedelta


def elapsed(time: timedelta) -> str:
    """Format a duration to the second, such as `47 s`, `2 min 47 s` or `3 h 5 min`."""
    seconds = max(0, round(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min"


def duration(time: timedelta) -> str:
    seconds = max(0.0, time.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    if (minutes := round(seconds / 60)) < 60:
        return f"{minutes} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
