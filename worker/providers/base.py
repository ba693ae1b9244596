"""What a provider is to Darkroom."""

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
    """What a submission carries of ours, by which its callback or the provider's list shows whose it is.

    Without a `callback_url` the provider is polled.
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
    #: what its settings begin with: `<PREFIX>_RATE`, `<PREFIX>_IN_FLIGHT`
    prefix: ClassVar[str]
    #: the setting that has its key
    key_setting: ClassVar[str]
    capabilities: ClassVar[Mapping[Operation, Capability]]
    #: the versions of Midjourney that it is known to have, and what they refuse; others are let through
    versions: ClassVar[Versions] = {}
    #: characters
    prompt_limit: ClassVar[int]
    #: how long result links live when the link itself does not say; None where no page says it (DARKROOM_LINK_HOURS)
    retention: ClassVar[timedelta | None] = None
    #: how long a link lives that `renew` has given, when it does not say so itself
    renewed_retention: ClassVar[timedelta] = timedelta(hours=24)
    #: whether it lists its tasks, which `recent` reads: there a submission whose reply was lost is found
    listed: ClassVar[Listed] = Listed.NO
    #: the operations whose requests its list shows, so that a submission without a mark is found too
    shown: ClassVar[frozenset[Operation]] = frozenset()
    #: most task_ids per `fetch`
    fetch_limit: ClassVar[int]
    #: hosts (and their subdomains) that result links may point to, and origins that the operator has named
    result_hosts: frozenset[str]
    callback: Callback = Callback.UNSIGNED
    #: what whoever relies on it should know of its future
    notice: ClassVar[str | None] = None
    #: whether a callback only says that there is news, which is then taken from `fetch`
    must_confirm: bool = False

    @abstractmethod
    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when a setting is missing that it cannot do without."""

    @abstractmethod
    def translate(self, request: GenerationRequest) -> ProviderRequest:
        """The request in this provider's terms; pure. Raises RequestInvalid for what cannot be or is surely refused."""

    @abstractmethod
    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        """One POST, never repeated inside: Accepted, or an Outcome where the reply is the result (texts).

        Raises NotTaken, AccountBlocked, Rejected or Uncertain; RequestInvalid as `check` does, before it is sent.
        """

    @abstractmethod
    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:
        """Read a callback; pure. Raises CallbackUnreadable and nothing else, whatever the bytes."""

    @abstractmethod
    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Ask for up to `fetch_limit` tasks at once; those the provider does not (yet) know are left out.

        Raises QueryFailed.
        """

    def _taken(self, task_id: str | None, field: str = "task id") -> Accepted:
        """The task that a reply names, where it is no refusal; raises Uncertain when it names none."""
        if task_id is None:
            message = f"{self.title} answered without a {field}, so it may have taken the request"
            raise Uncertain(message, code="no_task_id")
        return Accepted(task_id)

    def recent(self, since: datetime) -> Iterator[ListedTask]:  # noqa: ARG002
        """Its tasks since then, whoever made them, in any order. Raises RequestInvalid (no list) or QueryFailed."""
        raise RequestInvalid(f"{self.title} has no list of its tasks, so nobody can tell what else was made there")

    def shown_request(self, request: ProviderRequest) -> Shown | None:  # noqa: ARG002
        """What its list shows of this request (`ListedTask.request`); None where it does not show requests."""
        return None

    def renew(self, link: Link) -> str | None:  # noqa: ARG002
        """A fresh link to the same result, where the provider gives one for the old link. Raises QueryFailed."""
        return None

    def credit(self) -> str | None:
        """What is left on the account, in the vendor's own unit; None where it cannot be asked. Raises QueryFailed."""
        return None

    def proof(self, headers: Mapping[str, str]) -> str | None:  # noqa: ARG002
        """What makes a signed callback unique: a second one with the same proof and another body is a forgery."""
        return None
