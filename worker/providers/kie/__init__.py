"""Kie.ai and its sister MidAPI."""

from worker.providers.kie.adapter import Kie

__all__ = ["Kie"]
