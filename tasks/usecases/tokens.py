"""API tokens: create, list, revoke and recognize them."""

import re
import secrets
import string
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from hashlib import sha256
from zlib import crc32

from tasks.usecases.services import LedgerServices
from worker.errors import LedgerUnavailable, LedgerUnfit, NotFound, RequestInvalid
from worker.ledger.access import USE_NOTED_EVERY, NewToken, Token
from worker.secrets import redact
from worker.settings import read_rate

__all__ = ["ALL", "CreatedToken", "ListedToken", "Scope", "Token", "TokenRequest", "TokenState"]


class Scope(StrEnum):
    """What a token allows. Writing a resource includes reading it."""

    GENERATIONS_READ = "generations:read"
    GENERATIONS_WRITE = "generations:write"
    BATCHES_READ = "batches:read"
    BATCHES_WRITE = "batches:write"
    EVENTS_READ = "events:read"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WRITE = "approvals:write"
    SPEND_READ = "spend:read"
    METRICS_READ = "metrics:read"


#: stands for every scope, including scopes that later versions add
ALL = "all"

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: characters with as much randomness as 32 bytes, and characters of the checksum after them
_RANDOM, _CHECKSUM = 43, 6
#: characters after the prefix that lists show
_HINT = 4
_FORM = re.compile(rf"dk_(?:live|test)_[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}", re.ASCII)
_LONGEST_NAME = 100
#: the name that the log of actions gives to callers that need no token
_RESERVED = "local"


class TokenState(StrEnum):
    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """`scopes`: names of scopes, or ALL; `rate`: such as `100/second`; `expires_in`: None for never."""

    name: str
    scopes: Sequence[str]
    is_test: bool = False
    rate: str | None = None
    expires_in: timedelta | None = None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedToken:
    token: Token
    state: TokenState


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedToken:
    """`secret`: the token itself, which is not stored anywhere."""

    listed: ListedToken
    secret: str


def create_token(here: LedgerServices, request: TokenRequest) -> CreatedToken:
    """Create a token. Raises RequestInvalid for an unknown scope, a wrong rate or name, or a name that is in use."""
    _require_name(request.name)
    scopes = _scopes(request.scopes)
    if request.rate is not None:
        try:
            read_rate(request.rate)
        except ValueError as error:
            raise RequestInvalid(str(error)) from None
    secret = _new_secret("dk_test_" if request.is_test else "dk_live_")
    made = here.ledger.access.create_token(
        NewToken(
            name=request.name,
            sha256=_digest(secret),
            hint=secret[: len("dk_live_") + _HINT],
            scopes=scopes,
            is_test=request.is_test,
            rate=request.rate,
            expires_at=None if request.expires_in is None else here.clock() + request.expires_in,
            created_by=request.by,
        )
    )
    return CreatedToken(listed=_listed(made, here.clock()), secret=secret)


def list_tokens(here: LedgerServices, *, with_revoked: bool = False) -> list[ListedToken]:
    """Return all tokens, oldest first."""
    now = here.clock()
    return [_listed(one, now) for one in here.ledger.access.tokens(with_revoked=with_revoked)]


def revoke_token(here: LedgerServices, name: str) -> ListedToken:
    """Revoke a token: within seconds no process accepts it. Raises NotFound."""
    try:
        return _listed(here.ledger.access.revoke_token(name), here.clock())
    except NotFound as error:
        names = [one.name for one in here.ledger.access.tokens()]
        meant = get_close_matches(name, names, 1)
        raise NotFound(f"{error}{f'; did you mean {meant[0]!r}?' if meant else ''}") from None


def find_token(here: LedgerServices, secret: str) -> ListedToken | None:
    """Return the token with this secret and record its use; None if there is no such token."""
    found = here.ledger.access.token_of(_digest(secret)) if is_well_formed(secret) else None
    if found is None:
        return None
    now = here.clock()
    listed = _listed(found, now)
    if listed.state is TokenState.VALID and (found.used_at is None or abs(now - found.used_at) > USE_NOTED_EVERY):
        # Failing to record the use must not lock anyone out.
        with suppress(LedgerUnavailable, LedgerUnfit):
            here.ledger.access.note_token_use(found.id)
    return listed


def state_of(token: Token, now: datetime) -> TokenState:
    if token.revoked_at is not None:
        return TokenState.REVOKED
    return TokenState.EXPIRED if token.expires_at is not None and token.expires_at <= now else TokenState.VALID


def is_well_formed(secret: str) -> bool:
    """Return whether it can be a token at all: it ends with its own checksum, so that a typo costs no query."""
    return bool(_FORM.fullmatch(secret)) and secret[-_CHECKSUM:] == _checksum(secret[:-_CHECKSUM])


def allows(scopes: Collection[str], wanted: Scope) -> bool:
    """Return whether a token's scopes include `wanted`."""
    resource, _, verb = wanted.partition(":")
    return ALL in scopes or wanted in scopes or (verb == "read" and f"{resource}:write" in scopes)


def _listed(token: Token, now: datetime) -> ListedToken:
    return ListedToken(token=token, state=state_of(token, now))


def _new_secret(prefix: str) -> str:
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    number, digits = crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _digest(secret: str) -> str:
    return sha256(secret.encode("ascii")).hexdigest()


def _scopes(names: Sequence[str]) -> list[str]:
    """Return each scope once, in the order of `Scope`. Raises RequestInvalid with the scope that was probably meant."""
    known = {ALL, *Scope}
    for name in names:
        if name not in known:
            meant = get_close_matches(name.lower(), sorted(known), 1)
            raise RequestInvalid(
                f"unknown scope {redact(name)!r}; {f'did you mean {meant[0]}? ' if meant else ''}"
                f"Expected one of {', '.join(Scope)}, or {ALL}"
            )
    if not names:
        raise RequestInvalid(f"give at least one --scope: {', '.join(Scope)}, or {ALL}")
    return [ALL] if ALL in names else [one for one in Scope if one in names]


def _require_name(name: str) -> None:
    if _FORM.search(name) or name.startswith("dk_"):
        raise RequestInvalid("you choose the name of a token, such as `studio`; it is not the token itself")
    if not name or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise RequestInvalid(
            f"{name[:_LONGEST_NAME]!r} cannot be the name of a token: use 1 to {_LONGEST_NAME} printable characters, "
            "with no space at either end"
        )
    if name == _RESERVED:
        raise RequestInvalid(f"{name!r} stands for anyone using this machine without a token: choose another name")
