"""Users of the console, and their roles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from worker.errors import NotFound, RequestInvalid
from worker.ledger.access.sessions import END_ALL
from worker.ledger.changes import new_id
from worker.ledger.database import Part
from worker.ledger.schema import PRESENT, CleanText, users
from worker.ledger.statements import Query, columns_of, insert_ignoring, update_row


class Role(StrEnum):
    #: sees everything and changes nothing
    VIEWER = "viewer"
    #: also submits, decides and spends
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """`password_hash`: None for a user who logs in only through a proxy."""

    name: str
    role: Role
    password_hash: str | None
    created_by: str


class User(NamedTuple):
    id: str
    name: str
    role: str
    created_at: datetime
    created_by: str
    logged_in_at: datetime | None
    removed_at: datetime | None


class Password(NamedTuple):
    """`hash`: None for a user who logs in only through a proxy."""

    user_id: str
    hash: str | None


_u = users.c
_USERS = select(*columns_of(users, User))
_NAMED = (_u.name == bindparam("named", type_=CleanText()), text(PRESENT))
_ALL = Query(User, _USERS.order_by(_u.id))
_PRESENT = Query(User, _USERS.where(text(PRESENT)).order_by(_u.id))
_CALLED = Query(User, _USERS.where(*_NAMED))
_CALLED_LOCKED = Query(User, _USERS.where(*_NAMED).with_for_update())
_PASSWORD = Query(
    Password, select(*columns_of(users, Password, user_id="id", hash="password_hash")).where(*_NAMED)
)  # fmt: skip
_REHASH = (
    update(users)
    .where(_u.id == bindparam("user", type_=CleanText()), _u.password_hash == bindparam("old", type_=CleanText()))
    .values(password_hash=bindparam("new", type_=CleanText()))
)


class Users(Part):
    def create_user(self, new: NewUser) -> User:
        """Create a user. Raises RequestInvalid if the name is taken."""
        now = self._database.clock()
        row = {
            "id": new_id("user", now),
            "name": new.name,
            "role": new.role.value,
            "password_hash": new.password_hash,
            "created_at": now,
            "created_by": new.created_by,
        }
        with self._database.write() as connection:
            if not connection.execute(insert_ignoring(connection, users), row).rowcount:
                raise RequestInvalid(
                    f"there is already a user {new.name!r}: choose another name; `darkroom user passwd` changes the "
                    "password, and `darkroom user role` the role"
                )
            made = _CALLED.first(connection, named=new.name)
        assert made is not None, "it was inserted in this transaction"  # noqa: S101
        return made

    def users(self, *, with_removed: bool = False) -> Sequence[User]:
        """Return all users, oldest first."""
        with self._database.read() as connection:
            return (_ALL if with_removed else _PRESENT).all(connection)

    def user_named(self, name: str) -> User | None:
        with self._database.read() as connection:
            return _CALLED.first(connection, named=name)

    def password_of(self, name: str) -> Password | None:
        """Return the stored password of this user; None if there is no such user."""
        with self._database.read() as connection:
            return _PASSWORD.first(connection, named=name)

    def change_password(self, name: str, password_hash: str) -> User:
        """Set a new password and end all of the user's sessions. Raises NotFound."""
        return self._change(name, ends_sessions=True, password_hash=password_hash)

    def change_role(self, name: str, role: Role) -> User:
        """Set the role, which applies from the user's next request. Raises NotFound."""
        return self._change(name, ends_sessions=False, role=role.value)

    def remove_user(self, name: str) -> User:
        """Remove a user and end all of their sessions. Raises NotFound."""
        return self._change(name, ends_sessions=True, removed_at=self._database.clock(), password_hash=None)

    def keep_rehashed(self, user_id: str, old: str, new: str) -> None:
        """Store a hash of the same password with other parameters, unless the password has changed."""
        with self._database.write(alone=True) as connection:
            connection.execute(_REHASH, {"user": user_id, "old": old, "new": new})

    def _change(self, name: str, *, ends_sessions: bool, **values: object) -> User:
        now = self._database.clock()
        with self._database.write() as connection:
            found = _CALLED_LOCKED.first(connection, named=name)
            if found is None:
                raise NotFound(f"there is no user {name!r}; `darkroom user list` shows all")
            update_row(connection, users, {"id": found.id}, **values)
            if ends_sessions:
                connection.execute(END_ALL, {"user": found.id, "now": now})
        shown = {key: value for key, value in values.items() if key in User._fields}
        return found._replace(**shown)  # type: ignore[arg-type]
