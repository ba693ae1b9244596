"""One action on many gallery images: first a preview of what it would do, then the action on what was previewed.

Anything that arrived after the preview is left alone. Each action is done by the use case for few: `control`, `submit`,
`delete`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from tasks.shown import shown
from tasks.usecases.batches.estimate import Estimator
from tasks.usecases.control import OVER, RetryRequest, cancel, retry
from tasks.usecases.delete import Deleted, DeleteRequest, Deletions, delete
from tasks.usecases.follow_up import FollowUpRequest, check_follow_up
from tasks.usecases.gallery import GalleryRequest, all_ids, marks_of
from tasks.usecases.inputs import InputFiles
from tasks.usecases.once import Once, part_of, replay_of
from tasks.usecases.once_only import carry_out
from tasks.usecases.person import Person
from tasks.usecases.row_versions import replaced_in
from tasks.usecases.selection import Selection
from tasks.usecases.services import LedgerServices
from tasks.usecases.submit import Checked, submit_once
from worker.errors import (
    ArchiveError,
    CommitUnknown,
    ConfigurationError,
    DarkroomError,
    KeyInUse,
    LedgerUnavailable,
    NotPossible,
    RequestInvalid,
)
from worker.generation import FINAL, AssetKind, AssetState, Generation, Operation, State, operation_of
from worker.ledger.generations import NewGeneration, Snapshot
from worker.pricing import as_text, millionths, tier_of
from worker.services import Services
from worker.steps import Step

RETRY, CANCEL, DELETE = "retry", "cancel", "delete"
#: actions that take the number of each picked image
UPSCALE_PICKED, VARY_PICKED = "upscale", "variation"
ACTIONS_OF_PICKED = (UPSCALE_PICKED, VARY_PICKED)
_OF_WHAT_IS_THERE = (RETRY, CANCEL, DELETE)
#: owner of the key that keeps two requests from creating at once
_ONE_AT_A_TIME = "console"
#: the part of a request that creates
_CREATED = "created"
#: maximum number of generations per action, and per creation
MOST, MOST_CREATED = 50_000, 2_000
#: generations read or processed at once
_AT_ONCE = 500
_IMAGES = 4


class Pick(NamedTuple):
    """An image by the index of its asset; None for a generation without one."""

    generation_id: str
    number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Either picked images or all that match. `newest`: the newest of those that were previewed, if known.

    `seen_at`: the time of the preview; what changed later is left alone. `most`: the maximum number, as the preview
    showed.
    """

    picks: tuple[Pick, ...] = ()
    request: GalleryRequest = field(default_factory=GalleryRequest)
    newest: str | None = None
    seen_at: datetime | None = None
    most: int | None = None

    def picked(self) -> Mapping[str, set[int]]:
        """Return the numbers of the picked images, by generation."""
        found: dict[str, set[int]] = {}
        for one in self.picks:
            found.setdefault(one.generation_id, set()).update(() if one.number is None else (one.number,))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The preview of an action: it applies to `number` of `total`; why not to the others, counted by reason.

    `cost`: the maximum in millionths, with follow-ups; None without prices. `amount`: the same for people, in this
    `currency`. `seen_at`: the time of the preview; `newest`: the newest generation previewed; None if there are none.
    `images`: those that a deletion would delete.
    """

    action: str
    total: int
    number: int
    left: Mapping[str, int]
    seen_at: datetime
    newest: str | None
    images: int = 0
    cost: int | None = None
    amount: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """`wakes`: the steps that have work now. `is_replayed`: the same request was carried out before.

    `may_be_more`: an earlier try of the same request was interrupted, and may have done more than `number`.
    """

    action: str
    number: int
    left: Mapping[str, int]
    wakes: tuple[Step, ...]
    is_replayed: bool = False
    may_be_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`action`: RETRY, CANCEL, DELETE, or what providers offer, such as `upscale2`. `max_cost`: in millionths.

    `by`: who requests it; `with_objects`: delete the files in the bucket, too.
    """

    action: str
    by: str
    max_cost: int | None = None
    with_objects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sorted:
    """What is possible: to act on these generations, or to create these."""

    ids: tuple[str, ...]
    new: tuple[NewGeneration, ...]
    left: Counter[str]
    total: int
    newest: str | None
    cost: int | None


def foresee(here: Services, chosen: Chosen, wish: Wish) -> Foreseen:
    """Preview the action; write nothing.

    Raises RequestInvalid for too many generations or an unknown action, and as `gallery`.
    """
    seen_at = here.clock()
    found = _sorted(here, chosen, wish)
    prices = here.prices if found.cost is not None else None
    return Foreseen(
        action=wish.action,
        total=found.total,
        number=len(found.ids) + len(found.new),
        left=found.left,
        seen_at=seen_at,
        newest=found.newest,
        images=_number_of_images(here, found.ids) if wish.action == DELETE else 0,
        cost=found.cost,
        amount=None if found.cost is None else as_text(found.cost),
        currency=None if prices is None else prices.currency,
    )


def read_amount(text: str) -> int | None:
    """Parse an amount into millionths; None for empty text. Raises RequestInvalid."""
    if not text.strip():
        return None
    try:
        return millionths(Decimal(text.strip()))
    except (ArithmeticError, ValueError) as error:
        raise RequestInvalid(f"{text[:40]!r} is not an amount such as 5.00") from error


def settled(here: LedgerServices, chosen: Chosen) -> Chosen:
    """If all images with a mark are meant, return the images themselves: others of their generations are not meant.

    A generation that was marked after the preview is left alone.
    """
    mark = chosen.request.mark
    if chosen.picks or mark is None:
        return chosen
    ids = ids_of(here, chosen)
    marks, moment = list(marks_of(here, ids, mark)), chosen.seen_at
    later = {one.generation_id for one in marks if moment is not None and one.at > moment}
    picks = tuple(Pick(one.generation_id, one.number) for one in marks if one.generation_id not in later)
    return replace(chosen, picks=picks)


def ids_of(here: LedgerServices, chosen: Chosen) -> list[str]:
    """Return the generations that are meant, newest first. Raises RequestInvalid if too many, and as `gallery`."""
    if chosen.picks:
        known = here.ledger.assets.existing_generations(list(chosen.picked()))
        return sorted((one for one in known if chosen.newest is None or one <= chosen.newest), reverse=True)
    found = list(islice(all_ids(here, chosen.request, until=chosen.newest), MOST + 1))
    if len(found) > MOST:
        raise RequestInvalid(f"more than {MOST:,} generations match: narrow the filters, for example by day")
    return found


def carry_out_once(here: Services, chosen: Chosen, wish: Wish, once: Once) -> Done:
    """Carry out the action on what was previewed, once for this key.

    Raises NotPossible if more is possible now than the preview showed, or if it costs more than allowed; KeyReused and
    KeyInUse; and as the action on few.
    """
    answer = carry_out(here, once, lambda _: _carried_out(here, chosen, wish, once))
    done: Mapping[str, Any] = answer.document
    return Done(
        action=wish.action,
        number=int(done["number"]),
        left=dict(done["left"]),
        wakes=() if answer.is_replayed else tuple(step for step in Step if step in done["wakes"]),
        is_replayed=answer.is_replayed,
        # What an earlier try created is found by its own key, and counted.
        may_be_more=answer.may_be_more and wish.action in _OF_WHAT_IS_THERE,
    )


def _carried_out(here: Services, chosen: Chosen, wish: Wish, once: Once) -> Mapping[str, Any]:
    if created := replay_of(here, part_of(once, _CREATED)):
        return {"number": len(created), "left": {}, "wakes": [Step.DISPATCH, Step.ARCHIVE]}
    if wish.action in _OF_WHAT_IS_THERE:
        return _done(here, chosen, wish, once)
    # Two concurrent requests for the same follow-ups would both find that none exist, and pay for both.
    alone = Once(owner=_ONE_AT_A_TIME, key=_CREATED, request_sha256="")
    try:
        return carry_out(here, alone, lambda _: _done(here, chosen, wish, once), is_kept=False).document
    except KeyInUse as error:
        raise NotPossible("somebody else is creating from the gallery right now: try again in a moment") from error


def _done(here: Services, chosen: Chosen, wish: Wish, once: Once) -> Mapping[str, Any]:
    found = _sorted(here, chosen, wish)
    number = len(found.ids) + len(found.new)
    if chosen.most is not None and number > chosen.most:
        raise NotPossible(f"{number - chosen.most:,} more eligible now than in the preview: preview it again")
    if wish.max_cost is not None and found.cost is None and wish.action not in {CANCEL, DELETE}:
        raise NotPossible("prices are no longer set, so the cost is unknown: nothing was done; preview it again")
    if wish.max_cost is not None and found.cost is not None and found.cost > wish.max_cost:
        assert here.prices is not None, "it has a cost"  # noqa: S101
        text = here.prices.text
        raise NotPossible(
            f"it may now cost {text(found.cost)}, more than the maximum of {text(wish.max_cost)}: nothing was done"
        )
    if not number:
        return {"number": 0, "left": found.left, "wakes": []}
    if found.new:
        result = submit_once(here, Checked(wanted=found.new, warnings=((),) * len(found.new)), part_of(once, _CREATED))
        wakes = [Step.DISPATCH, Step.ARCHIVE] if any(_is_split(one) for one in found.new) else [Step.DISPATCH]
        return {"number": len(result.generations), "left": found.left, "wakes": wakes}
    selection = Selection(ids=found.ids)
    if wish.action == DELETE:
        deletions = _delete(here, selection, wish)
        return {"number": number - deletions.refused, "left": found.left, "wakes": list(deletions.wakes)}
    left, done, woken = found.left, 0, set[Step]()
    for some in _parts(found.ids):
        part = Selection(ids=some)
        try:
            decided = cancel(here, part) if wish.action == CANCEL else retry(here, RetryRequest(selection=part))
        except LedgerUnavailable as error:
            if not done:
                raise
            raise CommitUnknown(f"{done:,} of {number:,} were done before this; of the next: {error}") from error
        left += decided.all_left
        done += sum(one.is_done for one in decided.generations)
        woken.update(decided.wakes)
    return {"number": done, "left": left, "wakes": sorted(woken)}


def _delete(here: Services, selection: Selection, wish: Wish) -> Deletions:
    try:
        return delete(here, DeleteRequest(selection, Person(wish.by), with_objects=wish.with_objects), lambda _: None)
    except (ArchiveError, ConfigurationError) as error:
        # Deleted generations no longer match, so repeating the request would not find their files.
        gone = [one.id for one in _generations(here, selection.ids) if one.state is State.DELETED]
        halves = dict.fromkeys(one.generation_id for one, _ in here.ledger.generations.objects_to_delete(gone))
        if not halves:
            raise
        raise type(error)(
            f"the bucket failed when {len(gone):,} were deleted, and files of {len(halves):,} remain in it: when it is "
            f"back, run `darkroom delete --objects --yes {' '.join(halves)}`, and preview the others again"
        ) from error


def _is_split(new: NewGeneration) -> bool:
    return new.request.operation is Operation.SPLIT


def _sorted(here: Services, chosen: Chosen, wish: Wish) -> _Sorted:
    chosen = settled(here, chosen)
    picked = chosen.picked()
    # If no image has the mark, nothing is meant, rather than the whole generation.
    is_none = chosen.request.mark is not None and not picked
    ids = [] if is_none else ids_of(here, chosen)
    newest = max(ids, default=None)
    if wish.action in _OF_WHAT_IS_THERE:
        sort: Callable[[Services, Sequence[str]], tuple[list[str], Counter[str]]]
        sort = {RETRY: _for_retry, CANCEL: _for_cancel, DELETE: _for_delete}[wish.action]
        # Anything queued again since can still be cancelled as previewed.
        later = set[str]() if wish.action == CANCEL else _changed_since(here, chosen.seen_at, ids)
        possible, left = sort(here, [one for one in ids if one not in later])
        left += _left_later(later)
        cost = _cost_of_retry(here, possible) if wish.action == RETRY else None
        return _Sorted(ids=tuple(possible), new=(), left=left, total=len(ids), newest=newest, cost=cost)
    if wish.action not in ACTIONS_OF_PICKED and operation_of(wish.action) is None:
        raise RequestInvalid(f"unknown action {shown(wish.action)!r}: choose one that is offered")
    later = _changed_since(here, chosen.seen_at, ids)
    new, left, total = _follow_ups(here, [one for one in ids if one not in later], picked, wish)
    left += _left_later(later)
    if len(new) > MOST_CREATED:
        raise RequestInvalid(
            f"{len(new):,} would be created, and one request creates at most {MOST_CREATED:,}: narrow the filters"
        )
    return _Sorted(ids=(), new=tuple(new), left=left, total=total, newest=newest, cost=_cost(here, new))


def _changed_since(here: Services, moment: datetime | None, ids: Sequence[str]) -> set[str]:
    """Return what has changed since the preview, such as what this very request has already resubmitted."""
    if moment is None:
        return set()
    return {one.id for one in _generations(here, ids) if one.updated_at > moment}


def _generations(here: Services, ids: Sequence[str]) -> Iterator[Generation]:
    """Yield them in pages: all at once would take too much memory."""
    for some in _parts(ids):
        yield from here.ledger.generations.get(some)


def _parts(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from (tuple(ids[start : start + _AT_ONCE]) for start in range(0, len(ids), _AT_ONCE))


def _left_later(later: Collection[str]) -> Counter[str]:
    return Counter({"changed since the preview": len(later)} if later else {})


def _number_of_images(here: Services, ids: Sequence[str]) -> int:
    return sum(
        one.state is AssetState.STORED
        for some in _parts(ids)
        for assets in here.ledger.generations.assets_of(some).values()
        for one in assets
    )


def _for_retry(here: Services, ids: Sequence[str]) -> tuple[list[str], Counter[str]]:
    left: Counter[str] = Counter()
    possible = []
    for some in _parts(ids):
        generations = here.ledger.generations.get(some)
        over = [one for one in generations if one.state in OVER]
        replaced = replaced_in(here.ledger, over)
        awaited = here.ledger.generations.awaited([one.id for one in over])
        for one in generations:
            if one.state not in OVER:
                left[_NOT_RETRIED.get(one.state, f"still under way: {one.state}")] += 1
            elif one.id in replaced:
                left["replaced by a new version of its row"] += 1
            elif one.id in awaited:
                left["the provider may still deliver it, and charge for it"] += 1
            else:
                possible.append(one.id)
    return possible, left


_NOT_RETRIED = {
    State.ARCHIVED: "already succeeded",
    State.SUCCEEDED: "already succeeded",
    State.CANCELLED: "cancelled: submit it again",
    State.DELETED: "deleted, and its prompt with it",
    State.UNCONFIRMED: "unconfirmed: the provider may have charged for it",
}


def _for_cancel(here: Services, ids: Sequence[str]) -> tuple[list[str], Counter[str]]:
    left: Counter[str] = Counter()
    possible = []
    for one in _generations(here, ids):
        if one.state is State.QUEUED:
            possible.append(one.id)
        else:
            left[f"already finished: {one.state}" if one.state in FINAL else "already sent, and perhaps charged"] += 1
    return possible, left


def _for_delete(here: Services, ids: Sequence[str]) -> tuple[list[str], Counter[str]]:
    left: Counter[str] = Counter()
    possible: list[str] = []

    def tell(one: Deleted) -> None:
        if one.obstacle is None and one.state is not State.DELETED:
            possible.append(one.generation_id)
        else:
            left["already deleted" if one.obstacle is None else _OBSTACLES.get(one.state, "still under way")] += 1

    if ids:
        delete(here, DeleteRequest(Selection(ids=tuple(ids)), Person(""), dry_run=True), tell)
    return possible, left


_OBSTACLES = {
    State.QUEUED: "queued: cancel it first",
    State.UNCONFIRMED: "unconfirmed: resolve it first",
    State.FAILED: "failed, but the provider may still deliver it: try again tomorrow",
}


def _follow_ups(
    here: Services, ids: Sequence[str], picked: Mapping[str, set[int]], wish: Wish
) -> tuple[list[NewGeneration], Counter[str], int]:
    """Return what would be created, why the others would not, and from how many generations."""
    files = InputFiles(here)
    left: Counter[str] = Counter()
    found: list[NewGeneration] = []
    total = 0
    for some in _parts(ids):
        for snapshot in here.ledger.generations.snapshots(some):
            actions = _actions_for(snapshot, wish.action, picked.get(snapshot.generation.id))
            total += max(1, len(actions))
            if not actions:
                left["it has no images of its own to choose from"] += 1
            for action in actions:
                if (why := _obstacle(snapshot, action)) is not None:
                    left[why] += 1
                    continue
                request = FollowUpRequest(parent_id=snapshot.generation.id, action=action, created_by=wish.by)
                try:
                    found.append(check_follow_up(here, snapshot.generation, snapshot.assets, request, files))
                except DarkroomError:
                    left[f"its provider does not offer {action} for it"] += 1
    return found, left, total


def _actions_for(snapshot: Snapshot, action: str, indexes: set[int] | None) -> list[str]:
    """Return the actions: `upscale` means upscale1 to upscale4, each for its image."""
    if action not in ACTIONS_OF_PICKED:
        return [action]
    images = [one.index for one in snapshot.assets if one.kind is AssetKind.IMAGE]
    wanted = images if indexes is None else [one for one in images if one in indexes]
    return [f"{action}{one + 1}" for one in wanted] if len(images) == _IMAGES else []


def _obstacle(snapshot: Snapshot, action: str) -> str | None:
    of: Generation = snapshot.generation
    if of.state is not State.ARCHIVED:
        return f"not archived: {of.state}"
    if any(child.action == action and child.state not in _CAME_TO_NOTHING for child in snapshot.children):
        return f"it already has {action}"
    is_split = operation_of(action) is Operation.SPLIT
    return None if is_split or action in of.actions else f"it does not offer {action}"


_CAME_TO_NOTHING = {State.FAILED, State.CANCELLED, State.DELETED}


def _cost(here: Services, new: Sequence[NewGeneration]) -> int | None:
    if here.prices is None:
        return None
    estimator = Estimator(here, here.prices)
    for one in new:
        estimator.add(one)
    return estimator.total


def _cost_of_retry(here: Services, ids: Sequence[str]) -> int | None:
    prices = here.prices
    if prices is None:
        return None
    paid = (one for one in _generations(here, ids) if one.state is State.FAILED and not one.is_test)
    return sum(prices.price(one.provider, one.operation, tier_of(one.request)) for one in paid)
