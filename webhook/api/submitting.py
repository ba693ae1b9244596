"""Turns the body of a submission into the use case's request, and its mistakes into JSON pointers."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.inputs import UploadedFiles
from tasks.usecases.max_cost import excesses
from tasks.usecases.mistakes import EntriesInvalid, check_all
from tasks.usecases.once import Once
from tasks.usecases.submit import Checked, SubmitRequest, SubmitResult, submit_once
from webhook.api.amounts import millionths
from webhook.api.call import Call
from webhook.api.models.generations import ActionRequest, NewGeneration, NewGenerations
from webhook.api.reading import pointer, refused_at
from worker.errors import DarkroomError, KeyReused, KeyTaken, NotPossible, RequestInvalid

_INVALID = "the body is invalid"


@dataclass(frozen=True, slots=True)
class Asked:
    """`body`: one generation, or a list; `items`: each one with its JSON pointer."""

    body: NewGeneration | NewGenerations

    @property
    def items(self) -> Sequence[tuple[str, NewGeneration]]:
        if isinstance(self.body, NewGeneration):
            return [("", self.body)]
        return [(f"/generations/{number}", one) for number, one in enumerate(self.body.generations)]

    @property
    def has_keys(self) -> bool:
        return all(one.key is not None or one.custom_id is not None for _, one in self.items)


def submit(call: Call, asked: Asked, once: Once | None) -> SubmitResult:
    """Check all of them, then create all or none. Raises Refused with each mistake, and as `submit_once` does."""
    checked = _checked(call, asked)
    _refuse_dear(call, asked, checked)
    try:
        return submit_once(call.here, checked, once)
    except KeyTaken as error:
        raise refused_at(
            _INVALID,
            [
                {"pointer": f"{place}/{_key_name(one)}", "detail": str(error)}
                for place, one in asked.items
                if error.key in {one.key, one.custom_id}
            ],
            code="key_reused",
        ) from error


def names(given: str | Sequence[str] | None) -> str | None:
    """Return a list in the form that use cases read."""
    return given if given is None or isinstance(given, str) else ",".join(given)


def refused_action(error: RequestInvalid, body: ActionRequest) -> DarkroomError:
    """Return the same error, with its place in the body."""
    if isinstance(error, NotPossible | KeyReused):
        return error
    options = sorted(error.about & body.options.keys())
    fields = sorted(error.about & type(body).model_fields.keys())
    path = ("options", options[0]) if options else fields[:1]
    code = "key_reused" if isinstance(error, KeyTaken) else "invalid"
    return refused_at(_INVALID, [{"pointer": pointer(path), "detail": str(error)}], code=code)


def _checked(call: Call, asked: Asked) -> Checked:
    body = asked.body
    differing = [
        {
            "pointer": f"{place}/custom_id",
            "detail": "it differs from `key`, which means the same: give only one of them",
        }
        for place, one in asked.items
        if None not in {one.key, one.custom_id} and one.key != one.custom_id
    ]
    if differing:
        raise refused_at(_INVALID, differing)
    request = SubmitRequest(
        entries=[_entry(place, one) for place, one in asked.items],
        defaults=Defaults(files=UploadedFiles(call.here), created_by=call.caller.by),
        batch=body.batch if isinstance(body, NewGenerations) else None,
        is_batch=len(asked.items) > 1,
        is_test=call.caller.is_test,
        notify=body.notify if isinstance(body, NewGenerations) else None,
    )
    try:
        return check_all(call.here, request)
    except EntriesInvalid as error:
        raise refused_at(
            _INVALID,
            [
                {"pointer": f"{one.entry.place.source}{pointer(one.path)}", "detail": one.message}
                for one in error.mistakes
            ],
        ) from error
    except RequestInvalid as error:
        if error.about != {"notify"}:
            raise
        raise refused_at(_INVALID, [{"pointer": "/notify", "detail": str(error)}]) from error


def _entry(place: str, one: NewGeneration) -> Entry:
    return Entry(
        place=Place(place),
        prompt=one.prompt.strip(),
        key=one.custom_id if one.key is None else one.key,
        options=one.options,
        follow_up=names(one.follow_up),
        recipe=one.recipe,
        priority=one.priority,
        provider=names(one.provider),
        operation=one.operation,
        labels=one.labels,
        notify=one.notify,
        columns={"key": _key_name(one)},
    )


def _key_name(one: NewGeneration) -> str:
    return "custom_id" if one.key is None else "key"


def _refuse_dear(call: Call, asked: Asked, checked: Checked) -> None:
    each = [millionths(one.max_cost) for _, one in asked.items]
    body = asked.body
    together = millionths(body.max_cost) if isinstance(body, NewGenerations) else None
    places = [f"{place}/max_cost" for place, _ in asked.items]
    try:
        found = list(excesses(call.here, checked, each, together))
    except RequestInvalid as error:
        given = [place for place, limit in zip(places, each, strict=True) if limit is not None]
        raise refused_at(
            _INVALID, [{"pointer": one, "detail": str(error)} for one in given or ["/max_cost"]]
        ) from error
    if found:
        errors = [
            {"pointer": "/max_cost" if one.position is None else places[one.position], "detail": one.told}
            for one in found
        ]
        raise refused_at("it would cost too much", errors, status=402, code="max_cost_exceeded")
