"""One request, its answer, and the errors that only HTTP knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Request, Response, jsonify

from tasks.usecases.tokens import ALL
from webhook.api.wording import with_remedies
from webhook.shared import Shared
from worker.errors import DarkroomError
from worker.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request. `owner`: the token's id, or `local` without one; `name`: what people call it.

    `is_test`: what it creates goes to the sandbox provider.
    """

    owner: str
    name: str
    scopes: frozenset[str]
    is_test: bool = False

    @property
    def by(self) -> str:
        """Return who acted, for the history of a generation."""
        return f"{self.name} (API)"


#: programs on this machine, which need no token
LOCAL = Caller(owner="local", name="local", scopes=frozenset({ALL}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`request_id`: ours or the caller's, for logs and support. `idempotency_key`: None without one."""

    here: Services
    shared: Shared
    caller: Caller
    request: Request
    request_id: str
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A document of `tasks/usecases/views/`, with its status and headers."""

    document: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        response = jsonify(with_remedies(self.document))
        response.status_code = self.status
        response.headers.update(self.headers)
        return response


class Refused(DarkroomError):
    """A request that is refused with `status`. `code`: for programs; `errors`: the mistakes and their places.

    `more_errors`: how many mistakes are left out.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        headers: Mapping[str, str] | None = None,
        errors: tuple[Mapping[str, Any], ...] = (),
        more_errors: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.errors = errors
        self.more_errors = more_errors
