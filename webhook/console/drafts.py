"""What somebody entered on the page Submit, unchanged; and what is wrong with it, by field."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from werkzeug.datastructures import MultiDict

from tasks.usecases.batches.estimate import Estimate, Estimator
from tasks.usecases.entry import LONGEST_BATCH, LONGEST_KEY, PRIORITIES, UNSTORABLE, Entry, Place
from tasks.usecases.entry_check import DEFAULT_PROVIDER, Defaults
from tasks.usecases.inputs import UploadedFiles, image_options
from tasks.usecases.labels import read_labels
from tasks.usecases.max_cost import excesses
from tasks.usecases.mistakes import EntriesInvalid, Mistake, check_all
from tasks.usecases.queries import Story
from tasks.usecases.submit import Checked, FollowUpRequest, SubmitRequest, check
from worker.errors import ConfigurationError, DarkroomError, RequestInvalid
from worker.generation import Operation
from worker.pricing import read_amount
from worker.services import Services

#: generations of one form; more need a batch file
MOST_PROMPTS = 1000
OPTION = "option."
_LONGEST: Mapping[str, int] = {"key": LONGEST_KEY, "batch": LONGEST_BATCH}
_TEXTS = ("provider", "operation", "prompts", "labels", "key", "recipe", "follow_up", "priority", "max_cost", "batch",
          "follows", "action", "index")  # fmt: skip
#: part of an entry → the field that it is entered in
_FIELDS: Mapping[str, str] = {"prompt": "prompts", "image": "index"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One text for each field. `options`: name → its values; only images have several.

    `follows`: the id of the generation that it follows, by this `action`.
    """

    provider: str = DEFAULT_PROVIDER
    operation: str = Operation.IMAGINE.value
    prompts: str = ""
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labels: str = ""
    key: str = ""
    recipe: str = ""
    follow_up: str = ""
    priority: str = ""
    max_cost: str = ""
    batch: str = ""
    follows: str = ""
    action: str = ""
    index: str = ""
    is_test: bool = False

    @classmethod
    def of_form(cls, form: MultiDict[str, str]) -> Self:
        options = {
            name.removeprefix(OPTION): values
            for name in form
            if name.startswith(OPTION) and (values := [one.strip() for one in form.getlist(name) if one.strip()])
        }
        texts = {name: form[name].strip() for name in _TEXTS if name in form}
        return cls(**texts, options=options, is_test="is_test" in form)

    @classmethod
    def of_generation(cls, story: Story) -> Self:
        """Return a draft that would make it again, without its key."""
        one = story.generation
        return cls(
            provider=",".join((one.provider, *one.providers)),
            operation=one.operation.value,
            prompts=one.prompt,
            options=_as_entered(one.options),
            labels="\n".join(f"{name}={value}" for name, value in story.labels.items()),
            recipe=one.recipe_name or "",
            follow_up=",".join(one.follow_up),
            priority=str(one.priority or ""),
            follows=one.parent_id or "",
            action=one.action or (one.operation.value if one.parent_id else ""),
            is_test=one.is_test,
        )

    @property
    def lines(self) -> list[tuple[int, str]]:
        """Return each prompt with its line number; a follow-up has one prompt, which may span lines."""
        if self.follows:
            return [(1, self.prompts)]
        found = [(number, line.strip()) for number, line in enumerate(self.prompts.splitlines(), 1) if line.strip()]
        return found or [(1, "")]

    @property
    def is_blank(self) -> bool:
        """Return whether nothing has been entered that could be wrong."""
        return not (self.prompts or self.options or self.follows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """`mistakes`: field → what is wrong there; `""` stands for the whole form. `checked`: None if there are any.

    `estimate`: None without prices.
    """

    mistakes: Mapping[str, Sequence[str]]
    checked: Checked | None = None
    estimate: Estimate | None = None

    @property
    def warnings(self) -> list[str]:
        return (
            [] if self.checked is None else list(dict.fromkeys(one for each in self.checked.warnings for one in each))
        )


class _Wrong(Exception):
    def __init__(self, mistakes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.mistakes = mistakes


def find_mistakes(here: Services, draft: Draft, by: str) -> Findings:
    """Check all of it without writing anything."""
    try:
        checked = _checked(here, draft, by)
        estimate = _estimate(here, draft, checked)
    except _Wrong as wrong:
        return Findings(mistakes=wrong.mistakes)
    return Findings(mistakes={}, checked=checked, estimate=estimate)


def _checked(here: Services, draft: Draft, by: str) -> Checked:
    mistakes: defaultdict[str, list[str]] = defaultdict(list)
    labels, priority = _labels(draft, mistakes), _priority(draft, mistakes)
    if draft.max_cost and read_amount(draft.max_cost) is None:
        mistakes["max_cost"].append("enter an amount such as 2.50")
    _check_names(draft, mistakes)
    lines = draft.lines
    if draft.key and len(lines) > 1:
        mistakes["key"].append("a key names one generation: leave it empty for several prompts")
    if len(lines) > MOST_PROMPTS:
        mistakes["prompts"].append(
            f"{len(lines):,} prompts, but the limit is {MOST_PROMPTS:,}: submit more as a batch file"
        )
    if mistakes:
        raise _Wrong(mistakes)
    if draft.follows:
        return _checked_follow_up(here, draft, by, labels, priority)
    entries = [
        Entry(
            place=Place(f"line {number}" if len(lines) > 1 else ""),
            prompt=line,
            key=draft.key or None,
            options=_options(draft),
            follow_up=draft.follow_up,
            recipe=draft.recipe or None,
            priority=priority,
            provider=draft.provider,
            operation=_operation(draft),
            labels=labels,
        )
        for number, line in lines
    ]
    request = SubmitRequest(
        entries=entries,
        defaults=Defaults(files=UploadedFiles(here), created_by=by),
        batch=draft.batch or None if len(lines) > 1 else None,
        is_batch=len(lines) > 1,
        is_test=draft.is_test,
    )
    try:
        return check_all(here, request)
    except EntriesInvalid as error:
        raise _Wrong(_at_fields(error)) from error
    except (RequestInvalid, ConfigurationError) as error:
        raise _Wrong(_at_field(error, draft)) from error


def _checked_follow_up(here: Services, draft: Draft, by: str, labels: Mapping[str, str], priority: int) -> Checked:
    request = FollowUpRequest(
        parent_id=draft.follows,
        action=draft.action,
        image=int(draft.index) if draft.index.isdecimal() and draft.index.isascii() else None,
        prompt=draft.prompts or None,
        key=draft.key or None,
        options=_options(draft),
        follow_up=draft.follow_up,
        priority=priority,
        labels=labels,
        created_by=by,
    )
    try:
        return check(here, request)
    except (RequestInvalid, ConfigurationError) as error:
        raise _Wrong(_at_field(error, draft)) from error


def _estimate(here: Services, draft: Draft, checked: Checked) -> Estimate | None:
    limit = read_amount(draft.max_cost) if draft.max_cost else None
    try:
        if limit is not None and (found := list(excesses(here, checked, [], limit))):
            raise _Wrong({"max_cost": [one.told for one in found]})
        prices = here.prices
    except ConfigurationError:
        # Nothing is submitted until it is fixed; the answer to a submission says so.
        return None
    except RequestInvalid as error:
        raise _Wrong({"max_cost": [str(error)]}) from error
    if prices is None or all(one.is_test for one in checked.wanted):
        return None
    estimator = Estimator(here, prices)
    for one in checked.wanted:
        estimator.add(one)
    return estimator.result(checked.batch or "")


def _at_fields(error: EntriesInvalid) -> Mapping[str, Sequence[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one in error.mistakes:
        name, place = _field_of(one), str(one.entry.place)
        told = f"{place}: {one.message}" if place and name in {"prompts", ""} else _at_its_field(name, one.message)
        # A mistake in an option is the same mistake in each line.
        if told not in found[name]:
            found[name].append(told)
    return found


def _field_of(one: Mistake) -> str:
    if one.missing:
        return f"{OPTION}{one.missing}"
    if len(one.path) > 1:
        return f"{OPTION}{one.path[1]}"
    return _FIELDS.get(one.path[0], one.path[0]) if one.path else ""


def _at_field(error: DarkroomError, draft: Draft) -> Mapping[str, Sequence[str]]:
    about = error.about if isinstance(error, RequestInvalid) else frozenset({"provider"})
    options = sorted(about & draft.options.keys())
    words = [f"{OPTION}{one}" for one in options] or [_FIELDS.get(one, one) for one in sorted(about)]
    known = {*_TEXTS, *(f"{OPTION}{name}" for name in draft.options)}
    name = next((one for one in words if one in known), "")
    return {name: [_at_its_field(name, str(error))]}


def _at_its_field(name: str, told: str) -> str:
    """Leave out the option's name if the message appears below its field."""
    return told.removeprefix(f"option {name.removeprefix(OPTION)}: ")


def _labels(draft: Draft, mistakes: defaultdict[str, list[str]]) -> Mapping[str, str]:
    try:
        return read_labels(line for line in draft.labels.splitlines() if line.strip())
    except RequestInvalid as error:
        mistakes["labels"].append(str(error))
        return {}


def _priority(draft: Draft, mistakes: defaultdict[str, list[str]]) -> int:
    try:
        priority = int(draft.priority or "0")
    except ValueError:
        mistakes["priority"].append("enter a whole number, such as 10")
        return 0
    if priority not in PRIORITIES:
        mistakes["priority"].append(f"enter a number from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    return priority


def _check_names(draft: Draft, mistakes: defaultdict[str, list[str]]) -> None:
    for name, most in _LONGEST.items():
        text: str = getattr(draft, name)
        if len(text) > most:
            mistakes[name].append(f"{len(text):,} characters, but the limit is {most}")
        elif UNSTORABLE.search(text):
            mistakes[name].append("it contains a NUL or half a character, which cannot be stored: copy it again")


def _operation(draft: Draft) -> Operation:
    try:
        return Operation(draft.operation)
    except ValueError:
        told = f"there is no operation {draft.operation[:40]!r}; choose one from the list"
        raise _Wrong({"operation": [told]}) from None


def _options(draft: Draft) -> Mapping[str, object]:
    images = image_options()
    return {name: list(values) if name in images else values[0] for name, values in draft.options.items()}


def _as_entered(options: Mapping[str, object]) -> Mapping[str, Sequence[str]]:
    return {name: list(_texts(value)) for name, value in options.items()}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value)
