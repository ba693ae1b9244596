"""Tokens, users and the log of actions, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.generation import iso

if TYPE_CHECKING:
    from tasks.usecases.action_log import Action
    from tasks.usecases.tokens import CreatedToken, ListedToken
    from tasks.usecases.users import User


def of_token(listed: "ListedToken") -> dict[str, Any]:
    token = listed.token
    return {
        "name": token.name,
        "id": token.id,
        "hint": token.hint,
        "state": listed.state,
        "scopes": list(token.scopes),
        "is_test": token.is_test,
        "rate": token.rate,
        "created_at": iso(token.created_at),
        "created_by": token.created_by,
        "expires_at": iso(token.expires_at),
        "used_at": iso(token.used_at),
        "revoked_at": iso(token.revoked_at),
    }


def of_created_token(created: "CreatedToken") -> dict[str, Any]:
    """Return the only document that contains the token itself."""
    return {"token": created.secret, **of_token(created.listed)}


def of_user(user: "User") -> dict[str, Any]:
    return {
        "name": user.name,
        "id": user.id,
        "role": user.role,
        "created_at": iso(user.created_at),
        "created_by": user.created_by,
        "logged_in_at": iso(user.logged_in_at),
        "removed_at": iso(user.removed_at),
    }


def of_action(action: "Action") -> dict[str, Any]:
    return {**action._asdict(), "at": iso(action.at)}
