"""midjourney-proxy and the relays that speak like it."""

from worker.providers.mjproxy.adapter import MidjourneyProxy

__all__ = ["MidjourneyProxy"]
