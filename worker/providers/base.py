"""The interface of a provider."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from worker.errors import RequestInvalid, Uncertain
from worker.generation import Accepted, GenerationRequest, Link, Operation, Outcome
from worker.providers.capability import Capability, ProviderRequest
from worker.providers.listing import Listed, ListedTask, Shown
from worker.providers.model_versions import Versions
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Mark:
    """Our data in a submission, which identifies its callback and its task in the provider's list.

    Without a `callback_url`, the provider is polled.
    """

    attempt_id: str
    callback_url: str | None


class Callback(StrEnum):
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    NONE = "none"


class Provider(ABC):
    """One Midjourney API vendor. Every failure is raised as a `worker.errors.ProviderError`."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: the prefix of its settings: `<PREFIX>_RATE`, `<PREFIX>_IN_FLIGHT`
    prefix: ClassVar[str]
    #: the setting that holds its key
    key_setting: ClassVar[str]
    capabilities: ClassVar[Mapping[Operation, Capability]]
    #: the Midjourney versions known for it, and what they refuse; other versions are not checked
    versions: ClassVar[Versions] = {}
    #: whether an imagine's four images are delivered as one grid
    delivers_grids: ClassVar[bool] = True
    #: characters
    prompt_limit: ClassVar[int]
    #: bytes of the largest input image that it accepts; None if its pages state no limit
    input_limit: ClassVar[int | None] = None
    #: the lifetime of links that contain no expiry; None if it is not documented (then DARKROOM_LINK_HOURS)
    retention: ClassVar[timedelta | None] = None
    #: the lifetime of a link from `renew` that contains no expiry
    renewed_retention: ClassVar[timedelta] = timedelta(hours=24)
    #: whether it lists its tasks for `recent`, which finds submissions whose reply was lost
    listed: ClassVar[Listed] = Listed.NO
    #: the operations whose requests its list shows, so that submissions without a mark can be found
    shown: ClassVar[frozenset[Operation]] = frozenset()
    #: maximum task_ids per `fetch`
    fetch_limit: ClassVar[int]
    #: allowed hosts of result links (including subdomains), and origins that the operator configured
    result_hosts: frozenset[str]
    callback: Callback = Callback.UNSIGNED
    #: a warning about its future
    notice: ClassVar[str | None] = None
    #: whether a callback only announces an outcome, which `fetch` must then read
    must_confirm: bool = False

    @abstractmethod
    def __init__(self, settings: Settings) -> None:
        """Raise ConfigurationError if a required setting is missing."""

    @abstractmethod
    def translate(self, request: GenerationRequest) -> ProviderRequest:
        """Translate the request into this provider's terms. Pure. Raises RequestInvalid if that is impossible."""

    @abstractmethod
    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        """Send one POST, never retried internally; return Accepted, or an Outcome if the reply is the result (texts).

        Raises NotTaken, AccountBlocked, Rejected or Uncertain, or RequestInvalid before anything is sent.
        """

    @abstractmethod
    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:
        """Parse a callback. Pure. Raises only CallbackUnreadable, whatever the bytes."""

    @abstractmethod
    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Query up to `fetch_limit` tasks in one call; tasks that the provider does not have (yet) are left out.

        Raises QueryFailed.
        """

    def _taken(self, task_id: str | None, field: str = "task id") -> Accepted:
        """Return the task id from a successful reply. Raises Uncertain if there is none."""
        if task_id is None:
            message = f"{self.title} replied without a {field}, but may have accepted the request"
            raise Uncertain(message, code="no_task_id")
        return Accepted(task_id)

    def recent(self, since: datetime) -> Iterator[ListedTask]:  # noqa: ARG002
        """Yield all tasks since then, including foreign ones, in any order. Raises RequestInvalid or QueryFailed."""
        raise RequestInvalid(f"{self.title} has no list of its tasks, so other tasks cannot be found")

    def shown_request(self, request: ProviderRequest) -> Shown | None:  # noqa: ARG002
        """Return how its list would show this request (`ListedTask.request`); None if it shows no requests."""
        return None

    def renew(self, link: Link) -> str | None:  # noqa: ARG002
        """Return a fresh link to the same result; None if the provider does not renew links. Raises QueryFailed."""
        return None

    def credit(self) -> str | None:
        """Return the account's balance in the vendor's unit; None if it cannot be queried. Raises QueryFailed."""
        return None

    def proof(self, headers: Mapping[str, str]) -> str | None:  # noqa: ARG002
        """Return what makes a signed callback unique: the same proof with a different body means forgery."""
        return None
