"""Sends events to any address, signed like webhooks."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Any, Self

from tasks.usecases.services import LedgerServices
from worker.embedded import folder_errors, read_values, write_private
from worker.errors import RequestInvalid
from worker.subscribers import Line, Reply, Webhook, WebhookSigner, signed_request, webhooks

#: in the data folder
SECRET_FILE = "listen.json"  # noqa: S105  the name of a file
_SECRET = "secret"  # noqa: S105  also a name


@dataclass(frozen=True, slots=True)
class Answer:
    """`status`: None without a response; `error`: why it counts as not delivered."""

    status: int | None
    error: str | None

    @classmethod
    def of(cls, reply: Reply) -> Self:
        return cls(reply.status, reply.refusal.reason if reply.refusal else None)


class Forwarder:
    """Posts events to one address; keeps its connection. Raises RequestInvalid for an unusable address."""

    def __init__(self, here: LedgerServices, url: str) -> None:
        self.secret = listen_secret(here.settings.darkroom_data)
        self._signer = WebhookSigner(self.secret)
        self._line = Line(_address(url).url)
        self._clock = here.clock

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def send(self, document: Mapping[str, Any]) -> Answer:
        return Answer.of(self._line.post(*signed_request(self._signer, document, self._clock())))


def listen_secret(data: Path) -> str:
    """Return the secret that signs events sent to an address given on the command line; it is created once."""
    file = data / SECRET_FILE
    with folder_errors(data):
        if known := read_values(file).get(_SECRET):
            return known
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = f"whsec_{b64encode(token_bytes(32)).decode()}"
        write_private(file, f'{{"{_SECRET}": "{made}"}}\n')
    return made


def _address(url: str) -> Webhook:
    try:
        found = webhooks(url)
    except ValueError as error:
        reason = str(error).removeprefix("address number 1 ")
        raise RequestInvalid(f"the address {reason}") from error
    if len(found) != 1:
        raise RequestInvalid("give one address, of the form https://host/path")
    return found[0]
