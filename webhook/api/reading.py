"""Reads the query and the body of a request into their models."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from flask import Request
from pydantic import BaseModel, RootModel, ValidationError

from webhook.api import strict_json
from webhook.api.call import Refused
from webhook.api.mistakes import chosen, sentence_of
from webhook.api.routes import Operation
from webhook.bodies import parsing, reading
from webhook.body import read_body

#: bytes of a JSON body; 1,000 generations with long prompts have a tenth of this
LARGEST_JSON = 16 * 1024 * 1024
JSON = "application/json"
#: mistakes that one answer lists
_MOST = 1000

M = TypeVar("M", bound=BaseModel)


def require_media(request: Request, operation: Operation) -> None:
    """Raise Refused (415) for a body of a type that the operation does not take: forms of web pages do not get in.

    Where JSON is taken, a request without a type must have no body; reading the body enforces that.
    """
    taken = ((JSON,) if operation.body is not None else ()) + tuple(operation.media)
    # Many clients declare JSON even if they send no body.
    is_file = operation.body is None and bool(operation.media)
    if request.mimetype not in (taken or (JSON,)) and (request.mimetype or is_file):
        advice = f"send it as {' or '.join(taken)}" if taken else "send none"
        what = request.mimetype or "of no type"
        raise Refused(f"the body is {what}: {advice}", status=415, code="unsupported_media_type")


def read_query(request: Request, model: type[M]) -> M:
    """Read the query. Raises Refused with each wrong parameter; a repeated parameter is a list."""
    given = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
    for name, values in request.args.lists():
        for text in (name, *values):
            if wrong := strict_json.unusable(text):
                raise refused_at("the query string is invalid", [{"parameter": name, "detail": wrong}])
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(error, "parameter", "the query string is invalid", model) from None


def read_json(request: Request, model: type[M], others: Sequence[str] = ()) -> M:
    """Read the body. Raises Refused for anything but JSON that fits the model; each mistake has its JSON pointer.

    A missing body counts as empty if the model requires nothing. `others`: the other content types that the operation
    takes.
    """
    is_empty = request.content_length is None and "Transfer-Encoding" not in request.headers
    if (is_empty or request.content_length == 0) and not is_needed(model):
        return model()
    if request.mimetype != JSON:
        besides = f", or a body of one of these types: {', '.join(others)}" if others else ""
        raise Refused(
            f"the body is {request.mimetype or 'of no type'}: send JSON with Content-Type: {JSON}{besides}",
            status=415,
            code="unsupported_media_type",
        )
    try:
        with reading(request.environ), parsing(body := read_body(request.environ, LARGEST_JSON)):
            strict_json.check(body)
            # A number is no date, and 0 is not false.
            return model.model_validate_json(body, strict=True)
    except strict_json.NotJson as error:
        raise Refused(f"the body is not valid JSON: {error}", status=400, code="not_json") from None
    except strict_json.BadText as error:
        raise refused_at("the body is invalid", [{"pointer": pointer(error.place), "detail": str(error)}]) from None
    except ValidationError as error:
        raise _refused(error, "pointer", "the body is invalid", model) from None


def is_needed(model: type[BaseModel]) -> bool:
    """Return whether the model requires a body."""
    try:
        model()
    except ValidationError:
        return True
    return False


def require_plain(request: Request) -> None:
    """Raise Refused for a compressed body, which would be read as if it were uncompressed."""
    if (encoding := request.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise Refused(
            f"the body is encoded as {encoding}: send it uncompressed, without Content-Encoding",
            status=415,
            code="unsupported_content_encoding",
            headers={"Accept-Encoding": "identity"},
        )


def _refused(error: ValidationError, where: str, title: str, model: type[BaseModel]) -> Refused:
    # One of several models: pydantic prefixes each place with its name.
    is_choice = issubclass(model, RootModel)
    mistakes = error.errors(include_url=False, include_input=False, include_context=False)
    places = [one["loc"][is_choice:] for one in mistakes]
    return refused_at(
        title,
        [
            {
                where: pointer(place) if where == "pointer" else ".".join(map(str, place)),
                "detail": sentence_of(one, chosen(model, one["loc"][0]) if is_choice and place else model, place),
            }
            for place, one in zip(places, mistakes, strict=True)
        ],
    )


def refused_at(title: str, errors: Sequence[Mapping[str, str]], *, status: int = 422, code: str = "invalid") -> Refused:
    """Refuse a request with several mistakes, each with its `pointer` or `parameter`."""
    told = [": ".join(filter(None, (one.get("pointer", one.get("parameter")), one["detail"]))) for one in errors[:3]]
    more = f"; and {len(errors) - 3:,} more" if len(errors) > 3 else ""
    return Refused(f"{title}: {'; '.join(told)}{more}", status=status, code=code, errors=tuple(errors[:_MOST]))


def pointer(path: Iterable[int | str]) -> str:
    """Return the JSON pointer of this path."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
