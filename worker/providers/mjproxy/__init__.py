"""midjourney-proxy and compatible relays."""

from worker.providers.mjproxy.adapter import MidjourneyProxy

__all__ = ["MidjourneyProxy"]
