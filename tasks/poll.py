"""Poll providers about generations without a callback: a lost callback is a non-event."""

import functools
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import datetime, timedelta

from tasks.asking import PATIENCE, ask
from tasks.matching import Matches, match
from tasks.outcomes import apply, news_of
from worker import telemetry
from worker.celery import app
from worker.errors import ConfigurationError, QueryFailed, RequestInvalid
from worker.generation import AttemptState, Outcome, Status
from worker.ledger.generations import EARLIER, WithoutTask
from worker.ledger.outcome import News
from worker.ledger.submission import Silent
from worker.providers import Listed, ListedTask, Provider, Shown
from worker.runtime import LEASE, renewed
from worker.secrets import SANDBOX_ACCOUNT
from worker.services import Services, services
from worker.steps import Step

log = logging.getLogger(__name__)

BATCH = 200
#: a task may be invisible for a while after its submission. One that is unknown for this long is gone, but a later
#: success is still kept
UNKNOWN_AFTER = timedelta(hours=1)
#: the outcomes to record, and the candidates without a reply
Answered = tuple[list[News], list[Silent]]
Question = Callable[[Services, str, str, list[Silent]], Answered]
#: the sandbox forgets everything on a restart; none of its providers hides a new task for as long as a minute
_RESTARTED_AFTER = timedelta(minutes=1)
_RESTARTED = "the sandbox does not know it: it was restarted, and keeps nothing; a retry creates it again"
_UNKNOWN = "the provider has no such task, or no result for it, an hour after accepting it"


@app.task(name=Step.POLL)
def poll() -> None:
    """Poll what is due: by task_id or, for unconfirmed attempts, by callback mark."""
    here = services()
    began = time.monotonic()
    silent = here.ledger.submissions.claim_polls(BATCH, LEASE, here.settings.poll_after, here.settings.horizon)
    if silent:
        with renewed(functools.partial(here.ledger.submissions.renew_polls, silent, LEASE)):
            unanswered = _ask_all(here, silent)
        here.ledger.submissions.record_polled(silent, unanswered)
        answered = len(silent) - len(unanswered)
        telemetry.step(Step.POLL, len(silent), began, ok=answered, postponed=len(unanswered))


def _ask_all(here: Services, silent: list[Silent]) -> list[Silent]:
    """Poll and record the outcomes; return the candidates without a reply."""
    by_question: dict[tuple[Question, str, str, bool], list[Silent]] = defaultdict(list)
    for one in silent:
        # A person replaced it late: reading the list that far back could take too long for the others.
        is_old = here.clock() - one.sent_at > here.settings.horizon
        by_question[_found if one.task_id is None else _fetched, one.provider, one.account, is_old].append(one)
    unanswered: list[Silent] = []
    # Concurrently, so that an account that is slow or has lost its key does not delay the others.
    with ThreadPoolExecutor(len(by_question), thread_name_prefix="poll") as pool:
        asked = {
            pool.submit(question, here, name, account, those): those
            for (question, name, account, _), those in by_question.items()
        }
        for answered in as_completed(asked):
            error = answered.exception()
            if error is None:
                news, mute = answered.result()
                apply(here, news)
            else:
                mute = asked[answered]
                # A user's mistake needs no traceback.
                log.error("cannot poll: %s", error, exc_info=None if isinstance(error, ConfigurationError) else error)
            unanswered += mute
    return unanswered


def _fetched(here: Services, name: str, account: str, silent: list[Silent]) -> Answered:
    provider = here.provider(name, account)
    by_task = {str(one.task_id): one for one in silent}
    answers = ask(provider, list(by_task))
    outcomes = dict(answers.outcomes)
    for task_id in answers.unknown:
        age = here.clock() - by_task[task_id].sent_at
        if account == SANDBOX_ACCOUNT and age > _RESTARTED_AFTER:
            outcomes[task_id] = _failed(task_id, "sandbox_restarted", _RESTARTED)
        elif age > UNKNOWN_AFTER:
            outcomes[task_id] = _failed(task_id, "unknown_task", _UNKNOWN)
    news = []
    answered = outcomes.keys() | answers.unknown
    for task_id in outcomes.keys() & by_task.keys():
        try:
            news.append(_news(here, provider, by_task[task_id], outcomes[task_id]))
        except Exception:
            log.exception("could not use the reply of %s about task %s", name, task_id)
            answered.discard(task_id)
    return news, [one for task_id, one in by_task.items() if task_id not in answered]


def _failed(task_id: str, reason: str, message: str) -> Outcome:
    return Outcome(status=Status.FAILED, task_id=task_id, reason=reason, message=message)


def _news(here: Services, provider: Provider, one: Silent, outcome: Outcome) -> News:
    news = news_of(here, provider, one.attempt_id, outcome, cause="poll")
    # If it was polled from the start, it ended about now; if its callback was lost, perhaps long ago.
    is_polled = here.settings.public_url is None and one.state is AttemptState.ACCEPTED
    return replace(news, ended_at=here.clock()) if is_polled else news


def _found(here: Services, name: str, account: str, silent: list[Silent]) -> Answered:
    """Read the list once for all attempts, back to the oldest, however many tasks came after it."""
    provider = here.provider(name, account)
    if provider.listed is Listed.NO:
        return [], []
    waiting = {one.attempt_id: one for one in silent}
    # Without a callback URL, tasks in the list do not have our mark, so read the whole list.
    calls_back = here.settings.public_url is not None and account != SANDBOX_ACCOUNT
    by_request = not calls_back and bool(provider.shown)
    tasks: list[ListedTask] = []
    news: list[News] = []
    since = min(one.sent_at for one in silent) - EARLIER
    give_up_at = time.monotonic() + PATIENCE
    try:
        for task in provider.recent(since):
            if by_request:
                tasks.append(task)
            # Compare only the id in the mark: the callback URL's address and key may have changed since.
            attempt_id = task.attempt_id
            if attempt_id in waiting:
                del waiting[attempt_id]
                news.append(_listed(here, provider, attempt_id, task, provider.listed))
            if not (waiting or by_request):
                return news, []
            if time.monotonic() >= give_up_at:
                log.warning("%s: could not read its list to the end within %g s", provider.name, PATIENCE)
                return news, list(waiting.values())
    except QueryFailed as error:
        log.warning("%s did not answer: %s", provider.name, error)
        return news, list(waiting.values())
    except Exception:
        # Keep what was found before the error.
        log.exception("could not read the list of %s to the end", provider.name)
        return news, list(waiting.values())
    matches = _matched(here, provider, account, tasks, since) if by_request else Matches()
    news += [_listed(here, provider, one, task, Listed.BY_REQUEST) for one, task in matches.found.items()]
    return news, [one for one in waiting.values() if one.attempt_id in matches.later]


def _listed(here: Services, provider: Provider, attempt_id: str, task: ListedTask, by: Listed) -> News:
    return news_of(here, provider, attempt_id, task.outcome, cause=f"found in the provider's list {by}")


def _matched(here: Services, provider: Provider, account: str, tasks: list[ListedTask], since: datetime) -> Matches:
    """Match submissions without a mark by the requests in the list."""
    generations = here.ledger.generations
    marked = [task for task in tasks if task.marks]
    known = generations.known_tasks(
        provider.name,
        account,
        [str(task.outcome.task_id) for task in tasks],
        [task.attempt_id for task in marked if task.attempt_id],
    )
    unknown = [task for task in tasks if not task.marks and task.outcome.task_id not in known.task_ids]
    requests = {one.attempt_id: shown for one in known.without_task if (shown := _shown(provider, one)) is not None}
    is_shared = any(task.attempt_id not in known.attempt_ids for task in marked)
    matches = match(known.without_task, requests, unknown, since=since, is_shared=is_shared)
    before = {one.attempt_id: one.candidates for one in known.without_task}
    changed = {one: found for one, found in matches.candidates.items() if found != before[one]}
    if changed:
        generations.note_candidates(changed)
    return matches


def _shown(provider: Provider, one: WithoutTask) -> Shown | None:
    try:
        return provider.shown_request(provider.translate(one.generation.request))
    except RequestInvalid:
        # The provider's capabilities have since changed.
        return None
