"""Parse stored callbacks and record their outcomes."""

import functools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from tasks.asking import ask
from tasks.outcomes import apply, news_of
from worker import telemetry
from worker.celery import app
from worker.errors import CallbackUnreadable, ConfigurationError, LedgerUnavailable, LedgerUnfit
from worker.generation import Outcome, Status
from worker.ledger.outcome import News, StoredCallback
from worker.providers import PROVIDERS, Callback, Provider, json_body
from worker.runtime import LEASE, renewed, shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step

T = TypeVar("T")

log = logging.getLogger(__name__)

BATCH = 100
#: how long a callback waits if its provider has no key here or cannot be reached to confirm it
UNCONFIRMABLE = timedelta(seconds=30)


@app.task(name=Step.INGEST)
def ingest() -> None:
    """Apply callbacks, oldest first, until fewer than a full group are due: later ones have their own wake-up."""
    here = services()
    is_all = False
    while not is_all and not shutdown.is_asked() and (callbacks := here.ledger.callbacks.claim(BATCH, LEASE)):
        # A callback that was tried before is claimed alone, whatever else is due.
        is_all = len(callbacks) < BATCH and not callbacks[0].tries
        began = time.monotonic()
        ids = [callback.id for callback in callbacks]
        with renewed(functools.partial(here.ledger.callbacks.renew, ids, LEASE)):
            unready = _unready(here, {callback.provider for callback in callbacks})
            said, broken = _each(callbacks, functools.partial(_read_if_ready, here, unready))
            readable = [one for one in callbacks if one.id in said]
            confirmed = _confirm(here, readable, said)
            news, unspoken = _each(readable, functools.partial(_news, here, confirmed))
        if broken := broken | unspoken:
            here.ledger.callbacks.record_failures(broken)
        postponed = [one for one, outcome in confirmed.items() if outcome is None]
        here.ledger.callbacks.postpone(postponed, UNCONFIRMABLE)
        apply(here, found := [one for one in news.values() if one is not None])
        telemetry.step(Step.INGEST, len(callbacks), began, ok=len(found), failed=len(broken), postponed=len(postponed))


def _each(
    callbacks: Sequence[StoredCallback], read: Callable[[StoredCallback], T]
) -> tuple[dict[int, T], dict[int, str]]:
    """Return each callback's outcome, or why it is unreadable, by id. An unreadable callback affects no other."""
    found: dict[int, T] = {}
    broken: dict[int, str] = {}
    for one in callbacks:
        try:
            found[one.id] = read(one)
        except (LedgerUnavailable, LedgerUnfit):
            raise
        except Exception as error:
            log.exception("could not parse callback %d", one.id)
            broken[one.id] = described(error)
    return found, broken


def _unready(here: Services, names: set[str]) -> set[str]:
    """Return the providers that lost their key: their callbacks wait without delaying others."""
    unready = set()
    for name in names & PROVIDERS.keys():
        try:
            here.provider(name)
        except ConfigurationError as error:
            log.error("callbacks of %s wait: %s", name, error)  # noqa: TRY400  a person's mistake needs no traceback
            unready.add(name)
        except Exception:
            log.exception("callbacks of %s wait", name)
            unready.add(name)
    return unready


def _read_if_ready(here: Services, unready: set[str], callback: StoredCallback) -> Outcome | CallbackUnreadable | None:
    return None if callback.provider in unready else _read(here, callback)


def _read(here: Services, callback: StoredCallback) -> Outcome | CallbackUnreadable:
    if callback.provider not in PROVIDERS:
        return CallbackUnreadable(f"unknown provider {callback.provider}")
    provider = here.provider(callback.provider)
    try:
        body = json_body(callback.headers, callback.body)
        outcome = provider.parse_callback(callback.headers, body, callback.received_at)
    except CallbackUnreadable as error:
        return error
    proof = provider.proof(callback.headers)
    if proof and proof in map(provider.proof, here.ledger.callbacks.earlier_headers(callback)):
        return CallbackUnreadable("its signature was already used with a different body: a replay")
    return outcome


def _confirm(
    here: Services, callbacks: Sequence[StoredCallback], said: Mapping[int, Outcome | CallbackUnreadable | None]
) -> dict[int, Outcome | CallbackUnreadable | None]:
    """Return the callbacks' outcomes, confirmed with the provider where required; None if it is unreachable now."""
    final: dict[int, Outcome | CallbackUnreadable | None] = dict(said)
    doubted: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for callback in callbacks:
        outcome = said[callback.id]
        if isinstance(outcome, Outcome) and _is_doubted(here, here.provider(callback.provider), outcome):
            if outcome.task_id is None:
                final[callback.id] = CallbackUnreadable("it has no task_id, so it cannot be confirmed")
            else:
                doubted[callback.provider][callback.id] = (callback.attempt_id, outcome.task_id)
    for name, asked in doubted.items():
        final |= _asked(here, name, asked)
    return final


def _asked(here: Services, name: str, doubted: Mapping[int, tuple[str, str]]) -> dict[int, Outcome | None]:
    """Return the provider's outcomes for callbacks of (attempt, task_id); None if the provider is unreachable now."""
    account_of = here.ledger.dispatch.accounts_of([attempt_id for attempt_id, _ in doubted.values()])
    final: dict[int, Outcome | None] = dict.fromkeys(doubted)
    by_account: dict[str | None, dict[int, str]] = defaultdict(dict)
    for callback_id, (attempt_id, task_id) in doubted.items():
        by_account[account_of.get(attempt_id)][callback_id] = task_id
    for account, task_ids in by_account.items():
        try:
            answers = ask(here.provider(name, account), list(dict.fromkeys(task_ids.values())))
        except ConfigurationError as error:
            log.error("callbacks wait: %s", error)  # noqa: TRY400  a person's mistake needs no traceback
            continue
        except Exception:
            log.exception("callbacks of %s wait", name)
            continue
        for callback_id, task_id in task_ids.items():
            unknown = Outcome(status=Status.IN_PROGRESS, task_id=task_id) if task_id in answers.unknown else None
            final[callback_id] = answers.outcomes.get(task_id, unknown)
    return final


def _is_doubted(here: Services, provider: Provider, outcome: Outcome) -> bool:
    if provider.must_confirm:
        return outcome.status is not Status.IN_PROGRESS
    confirm = here.settings.darkroom_confirm
    wanted = confirm == "always" or (confirm == "unsigned" and provider.callback is not Callback.SIGNED)
    return wanted and outcome.status is Status.SUCCEEDED


def _news(
    here: Services, confirmed: Mapping[int, Outcome | CallbackUnreadable | None], callback: StoredCallback
) -> News | None:
    outcome = confirmed[callback.id]
    if outcome is None:
        return None
    if isinstance(outcome, CallbackUnreadable):
        return News(attempt_id=callback.attempt_id, outcome=outcome, cause="callback", callback_id=callback.id)
    provider = here.provider(callback.provider)
    news = news_of(here, provider, callback.attempt_id, outcome, cause="callback", callback_id=callback.id)
    return replace(news, ended_at=callback.received_at)
