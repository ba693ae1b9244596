"""Identifies callers: the bearer of a token, or a program on this machine."""

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from hashlib import sha256
from threading import Lock, Thread
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from flask import Request

from tasks.usecases.tokens import ListedToken, Token, TokenState, find_token, is_well_formed, state_of
from webhook.api.call import LOCAL, Caller, Refused
from webhook.loopback import objection
from worker.errors import LedgerUnavailable
from worker.runtime import locked_cached_property
from worker.services import Services

if TYPE_CHECKING:
    from webhook.api.rates import Rates

#: how long this process caches a token; a revocation takes effect after that
REMEMBERED = timedelta(seconds=5)
_MOST_REMEMBERED = 1000
#: how long at most while the ledger is unavailable, for a scrape, which has to report exactly that; and the seconds
#: that a scrape waits for the ledger's answer
OUTLASTS = timedelta(hours=1)
_PATIENCE = 1.0
# Anything after the last word is redacted.
_HOW = "send a token from `darkroom token create` in the Authorization header, after the word Bearer"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="darkroom"'}
_CHALLENGE_INVALID = {"WWW-Authenticate": 'Bearer realm="darkroom", error="invalid_token"'}


class Identified(NamedTuple):
    """`headers`: the rate-limit headers of the answer."""

    caller: Caller
    headers: Mapping[str, str]


class _Remembered(NamedTuple):
    token: Token
    read_at: datetime


class Access:
    """Identifies callers; one per process, which caches tokens briefly and counts requests."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._lock = Lock()
        #: by the digest of the token, so that a memory dump shows no token
        self._known: dict[bytes, _Remembered] = {}

    @locked_cached_property
    def _rates(self) -> "Rates":
        # Imported with the first token: a process that needs none saves 2 MB.
        from webhook.api.rates import Rates  # noqa: PLC0415

        return Rates(self._here.settings.darkroom_api_rate)

    def identify(self, request: Request, *, despite_outage: bool = False) -> Identified:
        """Raises Refused: 401 for a missing or wrong token, 429 for too many requests.

        `despite_outage`: while the ledger is unavailable, rely on the cached token.
        """
        if "access_token" in request.args or any(is_well_formed(one) for _, one in request.args.items(multi=True)):
            raise Refused(
                f"a token in a URL ends up in logs: revoke this one, and {_HOW}",
                status=401,
                code="token_in_url",
                headers=_CHALLENGE,
            )
        header = request.headers.get("Authorization")
        if header is None:
            if why := objection(request):
                raise Refused(
                    f"a token is required because {why}: {_HOW}", status=401, code="token_missing", headers=_CHALLENGE
                )
            return Identified(LOCAL, {})
        token = self._bearer(header, request.remote_addr or "", despite_outage=despite_outage)
        caller = Caller(owner=token.id, name=token.name, scopes=frozenset(token.scopes), is_test=token.is_test)
        return Identified(caller, self._rates.count(token.id, token.rate))

    def _bearer(self, header: str, address: str, *, despite_outage: bool) -> Token:
        scheme, _, secret = header.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not is_well_formed(secret):
            self._refuse(address, f"this is not a complete Darkroom token: {_HOW}")
        token = self._find(secret, despite_outage=despite_outage)
        if token is None:
            self._refuse(address, f"this token is unknown: {_HOW}")
        state = state_of(token, self._here.clock())
        if state is TokenState.REVOKED:
            self._refuse(address, f"the token {token.name!r} was revoked: {_HOW}")
        if state is TokenState.EXPIRED:
            self._refuse(address, f"the token {token.name!r} expired at {token.expires_at:%Y-%m-%d %H:%M} UTC: {_HOW}")
        return token

    def _find(self, secret: str, *, despite_outage: bool) -> Token | None:
        digest, now = sha256(secret.encode("ascii")).digest(), self._here.clock()
        with self._lock:
            known = self._known.get(digest)
        # A clock that was set back must not extend the cache.
        if known is not None and timedelta() <= now - known.read_at < REMEMBERED:
            return known.token
        if despite_outage and known is not None and timedelta() <= now - known.read_at < OUTLASTS:
            try:
                found = self._found_in_time(secret)
            except (LedgerUnavailable, TimeoutError):
                return known.token
        else:
            found = find_token(self._here, secret)
        if found is None:
            return None
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = _Remembered(found.token, now)
        return found.token

    def _found_in_time(self, secret: str) -> ListedToken | None:
        """Raises TimeoutError, and what `find_token` raises."""
        answer: Future[ListedToken | None] = Future()

        def find() -> None:
            try:
                answer.set_result(find_token(self._here, secret))
            except Exception as error:  # noqa: BLE001  raised in the thread that waits for it
                answer.set_exception(error)

        Thread(target=find, name="token", daemon=True).start()
        return answer.result(timeout=_PATIENCE)

    def _refuse(self, address: str, message: str) -> NoReturn:
        self._rates.count_guess(address)
        raise Refused(message, status=401, code="token_invalid", headers=_CHALLENGE_INVALID)
