"""Reads what a request says: its query and its body, by their models."""

from typing import TypeVar

from flask import Request
from pydantic import ValidationError

from webhook.api import strict_json
from webhook.api.call import Refused
from webhook.api.models.base import RequestModel
from webhook.body import read_body

#: bytes of a JSON body; 1,000 generations with long prompts have a tenth of it
LARGEST_JSON = 16 * 1024 * 1024
JSON = "application/json"
#: mistakes that one answer names
_MOST = 1000

M = TypeVar("M", bound=RequestModel)


def read_query(request: Request, model: type[M]) -> M:
    """Raises Refused with each wrong parameter; a parameter given several times is a list."""
    given = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
    for name, values in request.args.lists():
        for text in (name, *values):
            if wrong := strict_json.unusable(text):
                raise _invalid("the query string is invalid", [{"parameter": name, "detail": wrong}])
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(error, "parameter", "the query string is invalid") from None


def read_json(request: Request, model: type[M]) -> M:
    """Raises Refused for anything but JSON that the model takes; each mistake with its JSON pointer."""
    if request.mimetype != JSON:
        raise Refused(
            f"the body is {request.mimetype or 'of no type'}: send JSON with Content-Type: {JSON}",
            status=415,
            code="unsupported_media_type",
        )
    body = read_body(request.environ, LARGEST_JSON)
    try:
        strict_json.check(body)
        # A number is no date, and 0 is not false.
        return model.model_validate_json(body, strict=True)
    except strict_json.NotJson as error:
        raise Refused(f"the body is not valid JSON: {error}", status=400, code="not_json") from None
    except strict_json.BadText as error:
        raise _invalid("the body is invalid", [{"pointer": _pointer(error.place), "detail": str(error)}]) from None
    except ValidationError as error:
        raise _refused(error, "pointer", "the body is invalid") from None


def require_plain(request: Request) -> None:
    """Raise Refused for a compressed body, which would be read as if it were none."""
    if (encoding := request.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise Refused(
            f"the body is encoded as {encoding}: send it as it is, without Content-Encoding",
            status=415,
            code="unsupported_content_encoding",
            headers={"Accept-Encoding": "identity"},
        )


def _refused(error: ValidationError, where: str, title: str) -> Refused:
    errors = [
        {
            where: _pointer(one["loc"]) if where == "pointer" else ".".join(map(str, one["loc"])),
            "detail": one["msg"].removeprefix("Value error, "),
        }
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return _invalid(title, errors)


def _invalid(title: str, errors: list[dict[str, str]]) -> Refused:
    said = "; ".join(
        f"{one.get('pointer') or one.get('parameter') or 'the body'}: {one['detail']}" for one in errors[:3]
    )
    more = f"; and {len(errors) - 3:,} more" if len(errors) > 3 else ""
    return Refused(f"{title}: {said}{more}", status=422, code="invalid", errors=tuple(errors[:_MOST]))


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
