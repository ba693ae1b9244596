"""What the steps of this process work with, when a test wants it built anew."""

from worker.services import services


def forget() -> None:
    """Close what was built; the next who asks gets what the settings of then make."""
    if services.cache_info().currsize:
        services().close()
    services.cache_clear()
