"""The address that a submission names for its own events, checked before anything is written."""

from worker.errors import RequestInvalid
from worker.settings import Settings
from worker.subscribers import FORM, NotifyAddress, NotifyRule


def notify_address(settings: Settings, url: str | None) -> NotifyAddress | None:
    """Return the address. Raises RequestInvalid, not quoting it, if it is not allowed or there is no signing secret."""
    if url is None:
        return None
    if settings.darkroom_notify_secret is None:
        raise RequestInvalid(
            f"a notify address needs DARKROOM_NOTIFY_SECRET, which signs what is sent there, and it is not set: {FORM}",
            about=("notify",),
        )
    try:
        return NotifyRule(settings.darkroom_notify_allow).read(url)
    except ValueError as error:
        raise RequestInvalid(f"the notify address {error}", about=("notify",)) from None
