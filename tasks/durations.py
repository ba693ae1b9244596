"""Formats durations for people."""

from datetime import timedelta


def duration(time: timedelta) -> str:
    seconds = max(0.0, time.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    if (minutes := round(seconds / 60)) < 60:
        return f"{minutes} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
