"""Ace Data Cloud."""

from worker.providers.acedata.adapter import AceDataCloud

__all__ = ["AceDataCloud"]
