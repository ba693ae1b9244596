"""The console's users: add, list, change and remove them; log in and out."""

import re
import secrets
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256

from tasks.usecases.passwords import Passwords
from tasks.usecases.services import LedgerServices
from worker.errors import LedgerUnavailable, LedgerUnfit, NotFound, RequestInvalid
from worker.ledger.access import LONGEST as SESSION_LIFE
from worker.ledger.access import SEEN_EVERY, NewSession, NewUser, Role, User

__all__ = ["SESSION_LIFE", "LoggedIn", "Role", "User", "UserRequest"]

_LONGEST_NAME = 100
#: the names that the log of actions gives to local users, to failed logins, and to people who follow a link
_RESERVED = ("local", "nobody", "link")
#: 32 random bytes
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

_passwords = Passwords()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRequest:
    """`password`: None for a user who can log in only through a proxy."""

    name: str
    role: Role
    password: str | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """`cookie`: what their browser sends from now on; it is stored nowhere else."""

    name: str
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    name: str
    role: Role


def add_user(here: LedgerServices, request: UserRequest) -> User:
    """Add a user. Raises RequestInvalid for a name that is taken or invalid, and for a short password."""
    name = read_name(request.name)
    kept = None if request.password is None else _passwords.hash(request.password)
    return here.ledger.access.create_user(
        NewUser(name=name, role=request.role, password_hash=kept, created_by=request.by)
    )  # fmt: skip


def list_users(here: LedgerServices, *, with_removed: bool = False) -> Sequence[User]:
    """Return all users, oldest first."""
    return here.ledger.access.users(with_removed=with_removed)


def change_password(here: LedgerServices, name: str, password: str) -> User:
    """Set a password and log the user out everywhere. Raises NotFound, and RequestInvalid for a short password."""
    found = find_user(here, name)
    return here.ledger.access.change_password(found.name, _passwords.hash(password))


def change_role(here: LedgerServices, name: str, role: Role) -> User:
    """Change a user's role, which applies from the next request on. Raises NotFound."""
    return here.ledger.access.change_role(find_user(here, name).name, role)


def remove_user(here: LedgerServices, name: str) -> User:
    """Remove a user and log them out everywhere. Raises NotFound."""
    return here.ledger.access.remove_user(find_user(here, name).name)


def find_user(here: LedgerServices, name: str) -> User:
    """Return the user of this name. Raises NotFound."""
    found = here.ledger.access.user_named(normal_name(name))
    if found is None:
        meant = get_close_matches(name, [one.name for one in here.ledger.access.users()], 1)
        raise NotFound(
            f"there is no user {name[:_LONGEST_NAME]!r}; "
            f"{f'did you mean {meant[0]!r}?' if meant else '`darkroom user list` shows all'}"
        )
    return found


def log_in(here: LedgerServices, name: str, password: str) -> LoggedIn | None:
    """Begin a session with its own cookie; None for a wrong name or password, which take equally long."""
    name = normal_name(name)
    kept = here.ledger.access.password_of(name)
    if not _passwords.is_right(kept and kept.hash, password) or kept is None or kept.hash is None:
        return None
    checked = kept.hash
    if (renewed := _passwords.renewed(checked, password)) is not None:
        here.ledger.access.keep_rehashed(kept.user_id, checked, renewed)
        checked = renewed
    cookie = secrets.token_urlsafe(32)
    begun = here.ledger.access.begin_session(
        NewSession(sha256=_digest(cookie), user_id=kept.user_id, password_hash=checked)
    )
    return LoggedIn(name=name, cookie=cookie) if begun else None


def log_out(here: LedgerServices, cookie: str) -> None:
    """End the session: its cookie is no longer accepted."""
    if _COOKIE.fullmatch(cookie):
        here.ledger.access.end_session(_digest(cookie))


def visitor_of(here: LedgerServices, cookie: str) -> Visitor | None:
    """Return who is logged in with this cookie and record its use; None if nobody is, or no longer."""
    found = here.ledger.access.session_of(_digest(cookie)) if _COOKIE.fullmatch(cookie) else None
    if found is None:
        return None
    if abs(here.clock() - found.seen_at) > SEEN_EVERY:
        # Failing to record the use must not lock anyone out.
        with suppress(LedgerUnavailable, LedgerUnfit):
            here.ledger.access.note_session_use(_digest(cookie))
    return Visitor(name=found.name, role=Role(found.role))


def role_of(here: LedgerServices, name: str) -> Role | None:
    """Return the role of this user; None if there is no such user."""
    found = here.ledger.access.user_named(name)
    return None if found is None else Role(found.role)


def read_name(name: str) -> str:
    """Return the name as it is stored. Raises RequestInvalid for an invalid name."""
    normal = normal_name(name)
    if not normal or normal != normal.strip() or not normal.isprintable() or len(normal) > _LONGEST_NAME:
        raise RequestInvalid(
            f"{name[:_LONGEST_NAME]!r} cannot be the name of a user: use 1 to {_LONGEST_NAME} printable characters, "
            "with no space at either end"
        )
    if "," in normal:
        raise RequestInvalid(f"{normal!r} cannot be the name of a user: a comma separates names that a proxy sends")
    if normal in _RESERVED:
        raise RequestInvalid(f"{normal!r} has a special meaning in `darkroom audit-log`: choose another name")
    return normal


def normal_name(name: str) -> str:
    """Return the form in which a name is stored: keyboards write an é in two ways."""
    return unicodedata.normalize("NFKC", name)


def _digest(cookie: str) -> str:
    return sha256(cookie.encode("ascii")).hexdigest()
