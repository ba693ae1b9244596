"""HTTP to providers: the only place where failed calls and refusals become our errors."""

import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import requests
from pydantic import SecretStr

from worker import telemetry
from worker.errors import (
    AccountBlocked,
    ConfigurationError,
    NotTaken,
    ProviderError,
    ProviderNotSet,
    QueryFailed,
    Rejected,
    Uncertain,
)
from worker.net import read_retry_after
from worker.providers.connection import BODY_TIMEOUT, TRANSPORT_ERRORS, FreshConnections, diagnose, said_by_proxy
from worker.providers.posts import count_post
from worker.providers.reading import clean_text, read_json

#: seconds to connect; seconds for the reply's header and for each wait on its body
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
#: maximum bytes of a reply; a page of 50 records has 150 kB, a proxy's list more
BODY_LIMIT = 8 * 1024 * 1024
#: a longer `Retry-After` is reduced to this
LONGEST_WAIT = timedelta(hours=1)

_SAYS: Mapping[type[ProviderError], str] = {
    NotTaken: "is at capacity",
    AccountBlocked: "refuses this account (check its API key and balance)",
    Rejected: "refused the request",
    Uncertain: "gave no clear answer and may have accepted the request",
    QueryFailed: "did not answer a query",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error in a reply, with the provider's wording and types."""

    code: object
    message: object
    trace_id: object = None


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    data: object
    #: one word for why there is no data
    problem: str | None
    retry_after: timedelta | None


class ApiClient:
    """A thread-safe client for one provider.

    `credentials` are headers whose values never appear in an error. `read_refusal` finds the error in a reply's JSON,
    or returns None. `codes` says what an error code means where the HTTP status leaves that open or, with
    `code_decides`, regardless of the status. `form`: bodies are form-encoded instead of JSON, lists as repeated fields.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        credentials: Mapping[str, str],
        codes: Mapping[str, type[ProviderError]],
        read_refusal: Callable[[object], Refusal | None],
        code_decides: bool = False,
        form: bool = False,
    ) -> None:
        self._name = name
        self._base_url = base_url
        self._codes = codes
        self._read_refusal = read_refusal
        self._code_decides = code_decides
        self._form = form
        self._secrets = [value.split()[-1] for value in credentials.values()]
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            # Cloudflare, which protects some providers, rejects the default names of libraries.
            "User-Agent": "darkroom",
            **credentials,
        }
        self._adapter = FreshConnections(tls=urlsplit(base_url).scheme == "https")

    def post_once(self, path: str, payload: Mapping[str, object], *, patience: float | None = None) -> object:
        """Send a submission exactly once; return the JSON of the reply that accepts it.

        `patience`: seconds for each wait on the reply, if the provider works before it replies. Raises NotTaken,
        AccountBlocked, Rejected or Uncertain.
        """
        try:
            reply = self._send("POST", path, payload, patience, is_submission=True)
        except TRANSPORT_ERRORS as error:
            code, sent = diagnose(error)
            if sent:
                raise Uncertain(f"{self._name} {_SAYS[Uncertain]}", code=code) from error
            raise NotTaken(f"{self._name} is unreachable{said_by_proxy(error)}", code=code) from error
        if failure := self._failure(reply):
            raise failure
        return reply.data

    def query(self, path: str, payload: Mapping[str, object]) -> object:
        """Send a free query by POST and return the reply's JSON. Raises QueryFailed."""
        return self._ask("POST", path, payload)

    def get(self, path: str, **parameters: str) -> object:
        """Send a query by GET and return the reply's JSON. Raises QueryFailed (code empty_reply: no body)."""
        return self._ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path, None)

    def _ask(self, method: str, path: str, payload: Mapping[str, object] | None) -> object:
        try:
            reply = self._send(method, path, payload)
        except TRANSPORT_ERRORS as error:
            message = f"{self._name} {_SAYS[QueryFailed]}{said_by_proxy(error)}"
            raise QueryFailed(message, code=diagnose(error)[0]) from error
        if failure := self._failure(reply, as_kind=QueryFailed):
            raise failure
        return reply.data

    def _send(
        self,
        method: str,
        path: str,
        payload: Mapping[str, object] | None,
        patience: float | None = None,
        *,
        is_submission: bool = False,
    ) -> _Reply:
        headers, body = dict(self._headers), None
        if payload is not None and self._form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(payload, doseq=True).encode()
        elif payload is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(payload, allow_nan=False).encode()
        request = requests.Request(method, self._base_url + path, headers=headers, data=body).prepare()
        if is_submission:
            count_post()
        tell = functools.partial(
            telemetry.request, self._name, method, path, time.monotonic(), is_submission=is_submission
        )
        try:
            response = self._adapter.send(request, stream=True, timeout=(CONNECT_TIMEOUT, patience or READ_TIMEOUT))
        except TRANSPORT_ERRORS as error:
            tell(status=None, error=diagnose(error)[0])
            raise
        try:
            reply = _read_reply(response)
        finally:
            response.close()
        tell(status=reply.status, error=reply.problem)
        return reply

    def _failure(self, reply: _Reply, as_kind: type[ProviderError] | None = None) -> ProviderError | None:
        refusal = self._read_refusal(reply.data)
        kind = _kind_of_status(reply, explained=refusal is not None)
        if kind is None and refusal is None and reply.problem is None:
            return None
        said = refusal or Refusal(None, None)
        code, message = self._clean(said.code, 100), self._clean(said.message)
        meaning = self._codes.get(code or "", Uncertain)
        known = code in self._codes
        # With 400 and 403, only the code tells a forbidden prompt from an empty balance or an accident on the way.
        decides = known and (self._code_decides or kind is Rejected)
        if kind is None or decides or (kind is NotTaken and issubclass(meaning, NotTaken)):
            kind = meaning
        kind = as_kind or kind
        facts: dict[str, object] = {"retry_after": reply.retry_after} if issubclass(kind, NotTaken) else {}
        return kind(
            f"{self._name} {_SAYS[kind]}" + (f": {message}" if message else ""),
            code=code or (reply.problem if reply.status < 300 else None) or f"http_{reply.status}",
            status=reply.status,
            trace_id=self._clean(said.trace_id, 100),
            **facts,
        )

    def _clean(self, value: object, limit: int = 300) -> str | None:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, "[hidden]")
        return clean_text(value, limit)


def read_key(title: str, variable: str, secret: SecretStr | None) -> str:
    """Return a setting's key, checked to be valid in a header.

    Raises ConfigurationError, which names the setting, or ProviderNotSet if it is empty.
    """
    key = secret.get_secret_value().strip() if secret else ""
    if not key:
        raise ProviderNotSet(variable, f"{title} requires it")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"{variable} contains a space or an invalid character: copy the key again")
    return key


def _kind_of_status(reply: _Reply, *, explained: bool) -> type[ProviderError] | None:
    """Map a submission's HTTP status, with or without an error from the provider, to our error; None: success."""
    status = reply.status
    if 200 <= status < 300:
        return None
    # From a proxy, about a request that it has not forwarded.
    if status == 407:
        return NotTaken
    # A bare 503 may come from a gateway that lost the provider after it had forwarded the request.
    if status == 429 or (status == 503 and (explained or reply.retry_after is not None)):
        return NotTaken
    # A 403 that names no error comes from a firewall in front of the provider: it blocks us, not this prompt.
    if status in {401, 402} or (status == 403 and not explained):
        return AccountBlocked
    # 408 and 409 may refer to a request that is already being processed.
    if 400 <= status < 500 and status not in {408, 409}:
        return Rejected
    return Uncertain


def _read_reply(response: requests.Response) -> _Reply:
    body, data, problem = None, None, None
    try:
        body = _read_body(response)
        data = read_json(body)
    except ValueError:
        problem = "empty_reply" if body == b"" else "unreadable_reply"
    except TRANSPORT_ERRORS as error:
        problem = diagnose(error)[0]
    return _Reply(response.status_code, data, problem, _retry_after(response.headers))


def _read_body(response: requests.Response) -> bytes:
    """Return the whole body, within limits: `requests` limits neither size nor time. Raises ValueError beyond them."""
    deadline = time.monotonic() + BODY_TIMEOUT
    body = bytearray()
    while piece := response.raw.read1(65536, decode_content=False):
        body += piece
        if len(body) > BODY_LIMIT or time.monotonic() > deadline:
            raise ValueError("the reply is too large or too slow")
    return bytes(body)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    asked = read_retry_after(headers)
    return None if asked is None else min(asked, LONGEST_WAIT)
