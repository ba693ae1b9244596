"""Tokens and the log of actions, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.generation import iso

if TYPE_CHECKING:
    from tasks.usecases.action_log import Action
    from tasks.usecases.tokens import CreatedToken, ListedToken


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
    """The only document with the token itself."""
    return {"token": created.secret, **of_token(created.listed)}


def of_action(action: "Action") -> dict[str, Any]:
    return {**action._asdict(), "at": iso(action.at)}
