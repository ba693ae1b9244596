"""Why something waits, since when, until when, and the remedy. All other code only prints this module's findings."""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from worker.errors import ConfigurationError
from worker.generation import FOR_A_PERSON, OPEN, Generation, State
from worker.ledger import Ledger
from worker.ledger.assets import WaitingAsset
from worker.ledger.budget import By
from worker.ledger.dispatch import Slowed
from worker.pricing import Prices, as_text
from worker.providers import PROVIDERS, account_keys, provider_class
from worker.secrets import DEFAULT_ACCOUNT, SANDBOX_ACCOUNT, redact, title_of
from worker.settings import Settings

#: several times the longest pause between heartbeats of an idle worker
SILENCE = timedelta(seconds=75)
#: the Procfile's name for the process that finds forgotten work
CLOCK = "clock"
#: a clock with a heartbeat within this time is meant to be running
_RECENT = timedelta(days=1)
#: with fewer failures, the cause may be transient
_TRIES = 3
#: how many of the most urgent assets to examine
_MANY = 5000

_SENT = frozenset({State.SUBMITTED, State.UNCONFIRMED})
_QUEUED = frozenset({State.QUEUED})
_SUCCEEDED = frozenset({State.SUCCEEDED})
_FINISHED = frozenset({State.SUCCEEDED, State.ARCHIVED, State.EXPIRED, State.FAILED})


class Cause(StrEnum):
    RESTORE_GUARD = "restore_guard"
    WORKERS = "workers"
    CLOCK = "clock"
    BATCH_PAUSED = "batch_paused"
    #: its start is still to come
    BATCH_START = "batch_start"
    #: its maximum number of generations in flight is reached
    BATCH_LIMIT = "batch_limit"
    BUDGET = "budget"
    PAUSE = "pause"
    BREAKER = "breaker"
    #: it continues at a reduced rate
    SLOWED = "slowed"
    DOWNLOAD = "download"
    #: a person's, about a recipe step
    APPROVAL = "approval"


#: decided by a person, or how the batch is meant to run
OF_BATCHES = (Cause.BATCH_PAUSED, Cause.BATCH_START, Cause.BATCH_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One cause of waiting. `told`: the whole sentence; `remedy`: the part that says what to do.

    `count`: how many generations wait, if known. `fails`: it does not end by itself, or not soon.
    """

    cause: Cause
    #: the account, budget or host
    subject: str
    told: str
    remedy: str
    since: datetime | None
    until: datetime | None = None
    count: int | None = None
    fails: bool = False
    #: which generations wait: in these states, at this provider, or these ids
    states: frozenset[State] = frozenset(OPEN)
    provider: str | None = None
    batch_id: str | None = None
    #: such as `client=acme`, whose budget it is
    label: str | None = None
    ids: frozenset[str] | None = field(default=None, repr=False)
    #: True: only tests wait for it; False: all others; None: both
    is_test: bool | None = None

    @property
    def name(self) -> tuple[Cause, str]:
        """What identifies the wait while it lasts."""
        return self.cause, self.subject

    def concerns(self, one: Generation) -> bool:
        if one.state not in self.states or self.provider not in {None, one.provider}:
            return False
        if self.is_test not in {None, one.is_test}:
            return False
        if self.batch_id not in {None, one.batch_id} or (self.ids is not None and one.id not in self.ids):
            return False
        if self.cause in OF_BATCHES:
            # A generation with an account has been dispatched.
            return one.account is None
        is_held = one.state is State.QUEUED and one.reason == "budget"
        if self.cause is Cause.BUDGET:
            return is_held and self.label in {None, one.held_label}
        # A generation held by a budget is not in an account's queue.
        return not is_held or self.cause in {Cause.RESTORE_GUARD, Cause.WORKERS}


def waits_of(ledger: Ledger, settings: Settings) -> tuple[Wait, ...]:
    """Return everything that anything may be waiting for now, most blocking first."""
    now = ledger.database.clock()
    try:
        prices = settings.read_prices(PROVIDERS)
    except ConfigurationError:
        # The workers and `darkroom doctor` report it.
        prices = None
    return (
        *_guard(ledger),
        *_workers(ledger, now),
        *_batches(ledger),
        *_accounts(ledger, settings),
        *(_budgets(ledger, prices, settings, now) if prices is not None else ()),
        *_downloads(ledger.assets.waiting(_MANY)),
        *_approvals(ledger),
    )


def wait_of(one: Generation, waits: Iterable[Wait]) -> Wait | None:
    """Return the first cause that this generation waits for."""
    return next((wait for wait in waits if wait.concerns(one)), None)


def those_of(generations: Collection[Generation], waits: Iterable[Wait]) -> list[Wait]:
    """Return the waits that concern any of these generations."""
    known = tuple(waits)
    found = [wait_of(one, known) for one in generations]
    return list({wait.name: wait for wait in found if wait is not None}.values())


def _guard(ledger: Ledger) -> Iterator[Wait]:
    gate = ledger.restore.state()
    if gate is None or gate.complaint is None:
        return
    told = f"{gate.complaint} (paused since {_time(gate.closed_at)})"
    yield Wait(
        cause=Cause.RESTORE_GUARD,
        subject="",
        told=told,
        remedy="`darkroom reconcile`",
        since=gate.closed_at,
        fails=True,
        states=_QUEUED,
    )


def _workers(ledger: Ledger, now: datetime) -> Iterator[Wait]:
    beats = ledger.maintenance.heartbeats()
    heard = [beat for beat in beats if beat.silence(now) <= SILENCE and not beat.is_stopped]
    old = [beat.worker for beat in heard if beat.is_too_old]
    alive = [beat.worker for beat in heard if not beat.is_too_old]
    silent = [beat for beat in beats if beat not in heard]
    working = [beat for beat in heard if not beat.is_too_old and beat.role != CLOCK]
    if not working:
        last = max((beat for beat in silent if beat.role != CLOCK), key=lambda beat: beat.seen_at, default=None)
        since = last.seen_at if last else None
        silence = f" (the last one was seen at {_time(since)})" if since else ""
        if last and last.is_stopped:
            silence = f" (the last one stopped at {_time(since)})"
        if old and not alive:
            remedy = "start the newer version instead"
            told = f"{', '.join(old)} running a version that is too old for the ledger and starts nothing: {remedy}"
        elif alive:
            remedy = "start the Procfile's `worker`"
            told = f"no worker is running{silence}, only {', '.join(alive)}, so nothing is submitted or archived: "
            told += remedy
        else:
            remedy = "start `darkroom up`, or the Procfile's processes"
            told = f"no worker is running{silence}: {remedy}"
        yield Wait(cause=Cause.WORKERS, subject="", told=told, remedy=remedy, since=since, fails=True)
    clocks = [one.seen_at for one in silent if one.role == CLOCK and timedelta() < now - one.seen_at <= _RECENT]
    if working and clocks and len(working) == len(alive):
        remedy = "start the Procfile's `clock`"
        told = f"no clock has run since {_time(max(clocks))}, so lost callbacks and forgotten work are not found"
        yield Wait(
            cause=Cause.CLOCK, subject="", told=f"{told}: {remedy}", remedy=remedy, since=max(clocks), fails=True,
            states=_SENT,
        )  # fmt: skip


def _batches(ledger: Ledger) -> Iterator[Wait]:
    for one in ledger.batches.restricted():
        batch, name = one.steering, shlex.quote(one.steering.name)
        is_full = one.in_flight is not None and one.in_flight >= (batch.max_in_flight or 0)
        if batch.paused_at is not None:
            cause, command = Cause.BATCH_PAUSED, f"darkroom batch resume {name}"
            how = f"paused since {_time(batch.paused_at)}: `{command}` resumes it"
        elif batch.start_at is not None:
            cause, command = Cause.BATCH_START, f"darkroom batch limit {name} --no-start-at"
            how = f"starts at {_time(batch.start_at)}: `{command}` starts it now"
        elif is_full:
            cause, command = Cause.BATCH_LIMIT, f"darkroom batch limit {name} --max-in-flight NUMBER"
            how = f"{one.in_flight} of at most {batch.max_in_flight} in flight: it continues as they finish; "
            how += f"`{command}` allows more"
        else:
            continue
        yield Wait(
            cause=cause, subject=batch.id, told=f"batch {batch.name}: {how}", remedy=f"`{command}`",
            since=batch.paused_at, until=None if batch.paused_at else batch.start_at, states=_QUEUED, batch_id=batch.id,
        )  # fmt: skip


def _accounts(ledger: Ledger, settings: Settings) -> Iterator[Wait]:
    slowed = ledger.dispatch.throttled_accounts()
    stopped = {(one.provider, one.account) for one in slowed if _is_stopped(one)}
    for one in slowed:
        key_setting, accounts = _known(one.provider, settings)
        is_sandbox = one.account == SANDBOX_ACCOUNT
        command = f"darkroom resume {one.provider}"
        if one.account != DEFAULT_ACCOUNT:
            command += f" --account {one.account}"
        remedy = f"it is retried automatically; `{command}` retries now"
        if is_sandbox:
            remedy = f"check that DARKROOM_SANDBOX_URL is the address of `darkroom sandbox`; {remedy}"
        elif one.paused_key is not None:
            remedy = (
                f"check {key_setting} and the account's balance; after a restart a changed key ends the pause, "
                f"`{command}` ends it now"
            )
        is_paused = one.paused_until is not None
        # While another account works, nothing needs to wait for this one.
        waiting_for = (one.account,) if is_sandbox or not accounts else accounts
        all_stopped = all((one.provider, account) in stopped for account in waiting_for)
        yield Wait(
            cause=Cause.PAUSE if is_paused else Cause.BREAKER if one.is_open else Cause.SLOWED,
            subject=title_of(one.provider, one.account),
            told=f"{title_of(one.provider, one.account)}: {_how(one)}; {remedy}",
            remedy=f"`{command}`",
            since=one.paused_at if is_paused else one.opened_at,
            until=one.paused_until or one.open_until,
            fails=one.paused_key is not None,
            states=_QUEUED if all_stopped and _is_stopped(one) else frozenset(),
            provider=one.provider,
            is_test=is_sandbox,
        )


def _is_stopped(one: Slowed) -> bool:
    return one.paused_until is not None or one.is_open


def _known(provider: str, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Return the provider's key setting and its accounts here; none for a provider unknown to this version."""
    if provider not in PROVIDERS:
        return "its key", ()
    return provider_class(provider).key_setting, tuple(account_keys(provider, settings))


def _how(one: Slowed) -> str:
    """Describe all its limits, worst first."""
    found = []
    if one.paused_until is not None:
        found.append(f"paused{_span(one.paused_at, one.paused_until)}: {one.reason}")
    if one.open_until is not None:
        found.append(f"circuit open{_span(one.opened_at, one.open_until)} after {one.failures} failures in a row")
    elif one.is_open:
        found.append(f"circuit half-open after {one.failures} failures in a row: the next submission probes it")
    if one.factor < 1:
        found.append(f"slowed down to {max(1, round(100 * one.factor))} % of its rate after too many requests")
    return "; ".join(found)


def _budgets(ledger: Ledger, prices: Prices, settings: Settings, now: datetime) -> Iterator[Wait]:
    tomorrow = (now.astimezone(prices.zone) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    for cap in ledger.budgets.standings(prices):
        if not cap.waiting:
            continue
        is_of_batch = cap.budget is By.BATCH
        # These do not reset every day.
        lasts = is_of_batch or cap.budget is By.LABEL
        used = f"{as_text(cap.used)} of {prices.text(cap.cap)}"
        remedy = f"raise the cap in {settings.darkroom_prices} and restart the workers"
        if cap.is_own:
            remedy = f"`darkroom batch limit {shlex.quote(cap.name)} --max-cost AMOUNT` raises it"
        other = "" if lasts else f", or wait for the next day ({prices.zone})"
        since = ledger.budgets.full_since(cap)
        full = f"; full since {_time(since)}" if since else ""
        yield Wait(
            cause=Cause.BUDGET,
            subject=cap.name,
            told=f"budget for {cap.name}: {cap.waiting} waiting, cap reached ({used}): {remedy}{other}{full}",
            remedy=remedy,
            since=since,
            until=None if lasts else tomorrow,
            count=cap.waiting,
            states=_QUEUED,
            provider=cap.key if cap.budget is By.PROVIDER else None,
            batch_id=cap.key if is_of_batch else None,
            label=cap.key if cap.budget is By.LABEL else None,
        )


def _approvals(ledger: Ledger) -> Iterator[Wait]:
    waiting = ledger.approvals.waiting(_MANY)
    for subject, remedy, those in (
        ("", "`darkroom approve ID 2,4` or `darkroom reject ID`", [one for one in waiting if one.task is None]),
        ("task", "the worker of that application picks", [one for one in waiting if one.task is not None]),
    ):
        if those:
            whom = ", ".join(sorted({str(one.task) for one in those})) if subject else "a person"
            yield Wait(
                cause=Cause.APPROVAL,
                subject=subject,
                told=f"a recipe step is waiting for a decision by {whom}: {remedy}",
                remedy=remedy,
                since=min(one.asked_at for one in those),
                count=len(those),
                states=_FINISHED,
                ids=frozenset(one.generation_id for one in those),
            )


#: the address guard's error for a host that no setting or provider lists, including as older versions recorded it
_NOT_ALLOWED = re.compile(
    r"https?://(?P<host>\[[^\]]*\]|[^/:?#\s]+)\S*: "
    r"(?:its host is (?:not one of the provider's hosts|none of the provider's)|only https on port 443 is allowed)"
)
#: parts that differ between assets: times, sizes, ids
_VARYING = re.compile(r"[\w.:/-]*[0-9][\w.:/-]*")
#: what precedes the message of a download error
_ADDRESS = re.compile(r"https?://\S+: ")
_HOST = re.compile(r"https?://(?:[^@/]*@)?(\[[^\]]*\]|[^/:?#]*)", re.IGNORECASE)


def _downloads(assets: Sequence[WaitingAsset]) -> Iterator[Wait]:
    """Yield one wait for each host and reason, however many assets wait."""
    alike: dict[tuple[str, str | None], list[WaitingAsset]] = {}
    for one in assets:
        found = _NOT_ALLOWED.search(one.error)
        if found or one.reason in FOR_A_PERSON or one.tries >= _TRIES:
            why = None if found else _ADDRESS.sub("", redact(one.error))
            # A link may redirect to the host in question.
            host = found["host"].lower() if found else _host(one.url)
            # An error without a host concerns the bucket or a setting.
            key = host if host in one.error else "", why and _VARYING.sub("#", why)
            alike.setdefault(key, []).append(one)
    for (host, alike_in), those in alike.items():
        why = alike_in and _ADDRESS.sub("", redact(those[0].error))
        many = "1 asset waiting" if len(those) == 1 else f"{len(those)}{'+' * (len(those) == _MANY)} assets waiting"
        since = min(one.since for one in those)
        if why is None:
            names = "localhost,127.0.0.1,::1" if host == "localhost" else host
            remedy = f"if you trust it, add {names} to DARKROOM_DOWNLOAD_ALLOW and restart the workers"
            told = f"host {host} is not allowed: {many} since {_time(since)}; {remedy}"
        else:
            remedy = f"see `darkroom show {those[0].generation_id}`"
            place = f"host {host}: " if host else ""
            told = f"{place}{many} since {_time(since)}: {why}; retried automatically, {remedy}"
        yield Wait(
            cause=Cause.DOWNLOAD,
            subject=f"{host} {alike_in or ''}".strip(),
            told=told,
            remedy=remedy,
            since=since,
            count=len(those),
            fails=why is None or those[0].reason in FOR_A_PERSON,
            states=_SUCCEEDED,
            ids=frozenset(one.generation_id for one in those),
        )


def _host(url: str) -> str:
    found = _HOST.match(url)
    return found[1].lower() if found else ""


def _span(since: datetime | None, until: datetime) -> str:
    return f"{f' since {_time(since)}' if since else ''} until {_time(until)}"


def _time(at: datetime | None) -> str:
    """Format a time for people, in local time."""
    if at is None:
        return "the beginning"
    local = at.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().astimezone().date() else f"{local:%m-%d %H:%M}"
