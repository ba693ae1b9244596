"""Dead letters of every kind: list, replay after a fix, or dismiss."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tasks.shown import shown
from tasks.usecases.person import Person
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound, RequestInvalid
from worker.generation import AssetState, State
from worker.ledger import Ledger
from worker.secrets import secrets_hidden
from worker.steps import Step

#: more than anyone would read
_MOST = 100_000
#: characters of a body that are shown
_LONGEST_SHOWN = 64 * 1024


class LetterKind(StrEnum):
    CALLBACKS = "callbacks"
    ASSETS = "assets"
    EVENTS = "events"
    FOLLOW_UPS = "follow-ups"


#: kinds that can be dismissed; a dead asset stands for its generation, which stays expired
DISMISSED = (LetterKind.CALLBACKS, LetterKind.EVENTS, LetterKind.FOLLOW_UPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter. `facts`: further fields of its kind, for programs."""

    id: str
    kind: LetterKind
    at: datetime
    what: str
    error: str | None
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LetterSelection:
    """Letters by id, all of them, or all of one kind.

    Raises RequestInvalid for any other combination, and for a malformed id.
    """

    ids: tuple[str, ...] = ()
    everything: bool = False
    kind: LetterKind | None = None

    def __post_init__(self) -> None:
        if bool(self.ids) == self.everything or (self.kind and not self.everything):
            raise RequestInvalid("give either IDs, or --all with an optional --kind")
        wrong = next((one for one in self.ids if not any(pattern.fullmatch(one) for pattern, _, _ in _REPLAYS)), None)
        if wrong is not None:
            raise RequestInvalid(f"{shown(wrong)!r} is not an ID from `darkroom dead`, such as callback:12, "
                                 "asset:gen_1/0, event:57/subscriber or follow-up:gen_1")  # fmt: skip


@dataclass(frozen=True, slots=True)
class DismissRequest:
    letters: LetterSelection
    person: Person


@dataclass(frozen=True, slots=True)
class Replayed:
    """`is_done`: it will be processed again; if not, `message` states why."""

    letter_id: str
    is_done: bool
    message: str


@dataclass(frozen=True, slots=True)
class Replays:
    """`done`: how many were replayed; `wakes`: the steps that have work now."""

    letter_ids: tuple[str, ...]
    done: int
    wakes: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCallback:
    """A callback as received, without its secrets. `is_cut`: the body is longer."""

    id: int
    attempt_id: str
    provider: str
    generation_id: str | None
    received_at: datetime
    verdict: str | None
    error: str | None
    headers: Mapping[str, str]
    body: str
    bytes: int
    is_cut: bool


def list_dead(here: LedgerServices, kind: LetterKind | None = None, *, most: int = _MOST) -> tuple[Letter, ...]:
    """Return the letters by kind, newest first; `most`: of each kind."""
    return tuple(letter for one in LetterKind if kind in {None, one} for letter in _LISTS[one](here.ledger, most))


def raw_callback(here: LedgerServices, callback_id: int) -> RawCallback:
    """Return a callback for inspection, or only its beginning if it is long. Raises NotFound."""
    came, note = here.ledger.callbacks.get(callback_id)
    text = came.body.decode("utf-8", "backslashreplace")
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    text = secrets_hidden(text)
    return RawCallback(
        id=came.id,
        attempt_id=came.attempt_id,
        provider=came.provider,
        generation_id=note.generation_id,
        received_at=came.received_at,
        verdict=note.verdict,
        error=secrets_hidden(note.error),
        # Callback signatures are secrets of the provider and ours.
        headers={name: secrets_hidden(value) if _is_harmless(name) else "[redacted]"
                 for name, value in came.headers.items()},
        body=text[:_LONGEST_SHOWN],
        bytes=note.bytes,
        is_cut=len(text) > _LONGEST_SHOWN,
    )  # fmt: skip


def _is_harmless(header: str) -> bool:
    return header.lower() in {"content-type", "content-length", "user-agent", "date"}


def replay(here: LedgerServices, selection: LetterSelection, tell: Callable[[Replayed], None]) -> Replays:
    """Replay letters one by one; `tell` is called after each. Safe to repeat."""
    chosen = _chosen(here, selection, tuple(LetterKind))
    wakes: dict[Step, None] = {}
    done = 0
    for letter_id in chosen:
        replays = ((pattern.fullmatch(letter_id), step, again) for pattern, step, again in _REPLAYS)
        match, step, again = next(found for found in replays if found[0])
        assert match  # noqa: S101 - ids that match none were refused before
        is_done, message = again(here.ledger, match)
        if is_done:
            done += 1
            wakes[step] = None
        tell(Replayed(letter_id, is_done, message))
    return Replays(chosen, done, tuple(wakes))


def dismiss(here: LedgerServices, request: DismissRequest) -> tuple[str, ...]:
    """Dismiss callbacks, events and follow-ups, all or nothing; return their ids.

    Raises RequestInvalid for an asset, NotFound for an unknown id.
    """
    chosen = _chosen(here, request.letters, DISMISSED)
    if asset := next((one for one in chosen if _ASSET.fullmatch(one)), None):
        raise RequestInvalid(
            f"{asset} cannot be dismissed: its generation stays expired; `darkroom dead replay` or `darkroom "
            "retry` requests it again; nothing was changed"
        )
    callbacks = [int(match["number"]) for one in chosen if (match := _CALLBACK.fullmatch(one))]
    events = [(int(match["number"]), match["subscriber"]) for one in chosen if (match := _EVENT.fullmatch(one))]
    follow_ups = [match["generation"] for one in chosen if (match := _FOLLOW_UP.fullmatch(one))]
    here.ledger.events.dismiss(callbacks, events, request.person, follow_ups)
    return chosen


def _chosen(here: LedgerServices, selection: LetterSelection, kinds: tuple[LetterKind, ...]) -> tuple[str, ...]:
    if selection.ids:
        return tuple(dict.fromkeys(selection.ids))
    wanted = [one for one in kinds if selection.kind in {None, one}]
    return tuple(dict.fromkeys(letter.id for one in wanted for letter in _LISTS[one](here.ledger, _MOST)))


def _callbacks(ledger: Ledger, most: int) -> Iterator[Letter]:
    for one in ledger.callbacks.dead(most):
        facts = {
            "attempt": one.attempt_id,
            "generation": one.generation_id,
            "verdict": one.verdict,
            "bytes": one.bytes,
        }
        yield Letter(
            id=f"callback:{one.id}",
            kind=LetterKind.CALLBACKS,
            at=one.received_at,
            what=str(one.verdict),
            error=one.error,
            facts=facts,
        )


def _assets(ledger: Ledger, most: int) -> Iterator[Letter]:
    for asset, at in ledger.assets.dead(most):
        facts = {"generation": asset.generation_id, "index": asset.index, "type": asset.kind}
        name = f"asset:{asset.generation_id}/{asset.index}"
        yield Letter(id=name, kind=LetterKind.ASSETS, at=at, what=asset.kind, error=asset.error, facts=facts)


def _events(ledger: Ledger, most: int) -> Iterator[Letter]:
    for one in ledger.events.dead(most):
        about = {"event_id": one.public_id, "type": one.type, "generation": one.generation_id}
        facts = {**about, "subscriber": one.subscriber, "tries": one.tries}
        yield Letter(
            id=f"event:{one.event_id}/{one.subscriber}",
            kind=LetterKind.EVENTS,
            at=one.at,
            what=one.type,
            error=one.error,
            facts=facts,
        )


def _follow_ups(ledger: Ledger, most: int) -> Iterator[Letter]:
    for one in ledger.generations.refused_follow_ups(most):
        facts = {"generation": one.generation_id}
        what = ", ".join(one.follow_up)
        yield Letter(
            id=f"follow-up:{one.generation_id}",
            kind=LetterKind.FOLLOW_UPS,
            at=one.at,
            what=what,
            error=one.error,
            facts=facts,
        )


_LISTS: Mapping[LetterKind, Callable[[Ledger, int], Iterator[Letter]]] = {
    LetterKind.CALLBACKS: _callbacks,
    LetterKind.ASSETS: _assets,
    LetterKind.EVENTS: _events,
    LetterKind.FOLLOW_UPS: _follow_ups,
}


def _callback_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.callbacks.replay([int(match["number"])]) == 1:
        return True, "will be applied again"
    return False, "does not exist (it may have been pruned), or is not applied yet"


def _asset_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    try:
        (generation,) = ledger.generations.get([match["generation"]])
    except NotFound:
        return False, "belongs to no generation in the ledger"
    assets = ledger.generations.assets_of([generation.id])[generation.id]
    asset = next((one for one in assets if one.index == int(match["index"])), None)
    if asset is None:
        return False, "was not found"
    # Only in this state: a FAILED generation would be submitted, and paid for, again.
    if generation.state is State.EXPIRED and asset.state is AssetState.EXPIRED:
        ledger.generations.retry([generation.id])
        return True, "will be downloaded again"
    if asset.state is AssetState.WAITING:
        # It may be expired because of another asset: all assets of a generation are requested together.
        ledger.generations.retry([generation.id])
        return True, "is already being archived"
    return False, f"was not abandoned: it is {asset.state}, its generation {generation.state}"


def _event_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.events.replay(int(match["number"]), match["subscriber"]):
        return True, "will be delivered again"
    return False, "was not abandoned, does not exist (it may have been pruned), or its notify address was ended"


def _follow_up_again(ledger: Ledger, match: re.Match[str]) -> tuple[bool, str]:
    if ledger.generations.retry_follow_ups(match["generation"]):
        return True, "will be created again"
    return False, "was not abandoned, or does not exist"


_CALLBACK = re.compile(r"callback:(?P<number>\d{1,18})")
_ASSET = re.compile(r"asset:(?P<generation>\w+)/(?P<index>\d{1,4})")
_EVENT = re.compile(r"event:(?P<number>\d{1,18})/(?P<subscriber>\S+)")
_FOLLOW_UP = re.compile(r"follow-up:(?P<generation>\w+)")
#: the pattern of its IDs, the step that processes it, and the function that replays it
_REPLAYS: tuple[tuple[re.Pattern[str], Step, Callable[[Ledger, re.Match[str]], tuple[bool, str]]], ...] = (
    (_CALLBACK, Step.INGEST, _callback_again),
    (_ASSET, Step.ARCHIVE, _asset_again),
    (_EVENT, Step.NOTIFY, _event_again),
    (_FOLLOW_UP, Step.FOLLOW_UP, _follow_up_again),
)
