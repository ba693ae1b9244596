"""What a provider is to Darkroom, and the one list of those we know."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Protocol

from worker.generation import GenerationRequest, Operation, Outcome
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Submission:
    """The provider took it, under this task_id."""

    task_id: str


class Provider(Protocol):
    """One Midjourney API vendor. Every failure is raised as a `worker.errors.ProviderError`."""

    name: str
    operations: frozenset[Operation]
    #: option names that `GenerationRequest.options` may hold
    options: frozenset[str]
    #: characters
    prompt_limit: int
    #: whether the provider signs its callbacks, so that their links may be believed (DARKROOM_CONFIRM=unsigned)
    signs_callbacks: bool
    #: how long result links live when the link itself does not say
    retention: timedelta
    #: most task_ids per `fetch`
    fetch_limit: int
    #: hosts (and their subdomains) that result links may point to
    result_hosts: frozenset[str]

    def check(self, request: GenerationRequest) -> None:
        """Raise RequestInvalid for what cannot be expressed or is surely refused; sends nothing."""

    def submit(self, request: GenerationRequest, callback_url: str | None) -> Submission:
        """One POST, never repeated inside. Raises NotTaken, AccountBlocked, Rejected or Uncertain."""

    def parse_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Read a callback; pure. Raises CallbackUnreadable and nothing else, whatever the bytes."""

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        """Ask for up to `fetch_limit` tasks at once; those the provider does not (yet) know are left out.

        Raises QueryFailed.
        """

    def find(self, callback_url: str) -> Outcome | None:
        """Look for a task that was submitted with this callback URL; its outcome has a task_id. Raises QueryFailed."""


#: name → where its class lives; imported on first use, so one provider's libraries never burden another
PROVIDERS: Mapping[str, str] = {
    "acedata": "worker.providers.acedata:AceDataCloud",
}


def load_provider(name: str, settings: Settings) -> Provider:
    """Build the provider from its settings; raises ConfigurationError when its key is missing."""
    module, _, attribute = PROVIDERS[name].partition(":")
    build: Callable[[Settings], Provider] = getattr(import_module(module), attribute)
    return build(settings)
