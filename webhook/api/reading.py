"""Reads what a request says: its query and its body, by their models."""

from collections.abc import Sequence
from typing import TypeVar

from flask import Request
from pydantic import ValidationError

from webhook.api.call import Refused
from webhook.api.models.base import RequestModel
from webhook.body import read_body

#: bytes of a JSON body; 1,000 generations with long prompts have a tenth of it
LARGEST_JSON = 16 * 1024 * 1024
JSON = "application/json"

M = TypeVar("M", bound=RequestModel)


def read_query(request: Request, model: type[M]) -> M:
    """Raises Refused with each wrong parameter; a parameter given several times is a list."""
    given = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(error, "parameter", "the query string is invalid") from None


def read_json(request: Request, model: type[M], others: Sequence[str] = ()) -> M:
    """Raises Refused for anything but JSON that the model takes; each mistake with its JSON pointer.

    `others`: the content types that the operation takes besides.
    """
    if request.mimetype != JSON:
        besides = f", or a body of one of the types {', '.join(others)}" if others else ""
        raise Refused(
            f"the body is {request.mimetype or 'of no type'}: send JSON with Content-Type: {JSON}{besides}",
            status=415,
            code="unsupported_media_type",
        )
    try:
        return model.model_validate_json(read_body(request.environ, LARGEST_JSON))
    except ValidationError as error:
        if any(one["type"] == "json_invalid" for one in error.errors()):
            raise Refused(f"the body is not JSON: {error.errors()[0]['msg']}", status=400, code="not_json") from None
        raise _refused(error, "pointer", "the body is invalid") from None


def _refused(error: ValidationError, where: str, title: str) -> Refused:
    errors = tuple(
        {where: _pointer(one["loc"]) if where == "pointer" else ".".join(map(str, one["loc"])), "detail": one["msg"]}
        for one in error.errors(include_url=False, include_input=False)
    )
    said = "; ".join(f"{one[where] or 'the body'}: {one['detail']}" for one in errors[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return Refused(f"{title}: {said}{more}", status=422, code="invalid", errors=errors)


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
