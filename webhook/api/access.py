"""Who asks: the bearer of a token, or whoever uses this machine."""

from flask import Request

from webhook.api.call import LOCAL, Caller
from worker.services import Services


def identify(request: Request, here: Services) -> Caller:  # noqa: ARG001
    """Raises Refused (401, 403, 429)."""
    return LOCAL
