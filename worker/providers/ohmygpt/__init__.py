"""OhMyGPT."""

from worker.providers.ohmygpt.adapter import OhMyGPT

__all__ = ["OhMyGPT"]
