"""The routes of a resource, declared at their functions, with their descriptions."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from flask import Response
from pydantic import BaseModel

from webhook.api.call import Reply
from webhook.api.models.base import RequestModel
from webhook.api.scopes import Scope

Handler = TypeVar("Handler", bound=Callable[..., Reply | Response])
#: an answer: its model, its media types if it is not JSON, or None without a body
Answer = type[BaseModel] | Sequence[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `path`: like `/v1/generations/{id}`; `name`: its operationId.

    `query`, `body`: the models that `handle` takes under these names. `media`: other content types of the body, which
    `handle` reads itself; `body` is then None. `may_cost`: a request repeated without a key could be paid for twice.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    handle: Callable[..., Reply | Response]
    scope: Scope | None
    query: type[RequestModel] | None
    body: type[BaseModel] | None
    media: Sequence[str]
    answers: Mapping[int, Answer]
    problems: Sequence[int]
    may_cost: bool


class Routes:
    """The operations of one resource. `tag`: its name; `prefix`: of all their paths."""

    def __init__(self, tag: str, prefix: str = "/v1") -> None:
        self.tag = tag
        self._prefix = prefix
        self.operations: list[Operation] = []

    def get(
        self, path: str, *, scope: Scope | None, answers: Mapping[int, Answer], problems: Sequence[int] = ()
    ) -> Callable[[Handler], Handler]:
        return self._route(method="GET", path=path, scope=scope, answers=answers, problems=problems)

    def post(
        self,
        path: str,
        *,
        scope: Scope,
        answers: Mapping[int, Answer],
        problems: Sequence[int] = (),
        media: Sequence[str] = (),
        may_cost: bool = False,
    ) -> Callable[[Handler], Handler]:
        return self._route(
            method="POST", path=path, scope=scope, answers=answers, problems=problems, media=media, may_cost=may_cost
        )

    def _route(
        self,
        *,
        method: str,
        path: str,
        scope: Scope | None,
        answers: Mapping[int, Answer],
        problems: Sequence[int],
        media: Sequence[str] = (),
        may_cost: bool = False,
    ) -> Callable[[Handler], Handler]:
        def keep(handle: Handler) -> Handler:
            hints: Mapping[str, Any] = get_type_hints(handle)
            summary, _, description = inspect.cleandoc(handle.__doc__ or "").partition("\n")
            self.operations.append(
                Operation(
                    method=method,
                    path=f"{self._prefix}{path}",
                    name=handle.__name__,
                    tag=self.tag,
                    summary=summary,
                    description=" ".join(description.split()),
                    handle=handle,
                    scope=scope,
                    query=hints.get("query"),
                    body=_model_of(hints.get("body")),
                    media=media,
                    answers=answers,
                    problems=problems,
                    may_cost=may_cost,
                )
            )
            return handle

        return keep


def _model_of(hint: Any) -> type[BaseModel] | None:
    """Return the model in `Model` or `Model | None`."""
    classes = (one for one in (hint, *get_args(hint)) if isinstance(one, type))
    return next((one for one in classes if issubclass(one, BaseModel)), None)
