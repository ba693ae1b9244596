"""The objects that the pages share."""

from dataclasses import dataclass

from webhook.shared import Shared
from worker.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`shared`: what all requests of this process share."""

    here: Services
    shared: Shared
