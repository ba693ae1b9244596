"""What `darkroom doctor` looks at: each finding is one sentence that says how it is, and what to do about it."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from kombu.exceptions import OperationalError
from redis import RedisError

from tasks.durations import duration
from tasks.usecases.assumed_prices import assumed_at
from tasks.usecases.clocks import broker_error, complaint
from tasks.usecases.doctor.accounts import examine_keys, examine_others, is_set_up
from tasks.usecases.doctor.finding import Diagnosis, Finding, Verdict
from tasks.usecases.doctor.hosts import examine_hosts
from tasks.usecases.doctor.proxies import examine_proxies
from tasks.usecases.doctor.queues import examine_queues
from tasks.usecases.providers import describe_providers
from tasks.usecases.services import require_ledger
from tasks.waiting import CLOCK, SILENCE, Cause, waits_of
from worker.embedded import OLDEST_BROKER
from worker.errors import ConfigurationError, DarkroomError
from worker.generation import State
from worker.ledger import migrations
from worker.ledger.budget import By
from worker.ledger.maintenance import Heartbeat
from worker.net import TimedConnection, TimedTlsConnection, is_public, read_address
from worker.providers import PROVIDERS
from worker.services import Services
from worker.settings import Settings, redis_client
from worker.subscribers import is_wanted, patterns

#: seconds for one answer of the broker or the receiver
_PATIENCE = 3
#: a provider that has said nothing for so long was forgotten or has forgotten
_OVERDUE = timedelta(hours=1)
#: a worker that was heard in this time and is silent now was probably not stopped on purpose
_RECENT = timedelta(hours=1)
_MANY = 1000
#: how redis-py writes the sentinels that it has asked, before it says what each of them answered
_CLIENTS = re.compile(r"<redis\.client\.Redis\(.*?\)>\)>\)> - ")
#: what `darkroom doctor` calls the causes of waiting
_CHECKS = {
    Cause.RESTORE_GUARD: "restore gate",
    Cause.WORKERS: "workers",
    Cause.CLOCK: "workers",
    Cause.BUDGET: "budgets",
    Cause.DOWNLOAD: "downloads",
}


def diagnose(read_settings: Callable[[], Settings]) -> Diagnosis:
    """Everything that Darkroom needs; settings that cannot be read are a finding, too, and then the only one."""
    try:
        settings = read_settings()
    except ConfigurationError as error:
        return Diagnosis((Finding("settings", Verdict.FAIL, str(error)),))
    with closing(Services(settings)) as here:
        return Diagnosis((Finding("settings", Verdict.OK, "can be read"), *_examine(here)))


def check_before_start(here: Services, *, has_broker: bool) -> None:
    """Raise ConfigurationError for what would only fail when the first generation is submitted or archived.

    `has_broker`: the settings name one that is running already. Raises ArchiveError for a bucket that cannot be used.
    """
    # Each raises for what it cannot be made of.
    _ = here.signer, here.ledger, here.prices
    if has_broker and (broker := _broker(here)).verdict is Verdict.FAIL:
        raise ConfigurationError(f"REDIS_URL: the broker {broker.message}")
    missing = [one.missing for one in describe_providers(here.settings)]
    if all(missing):
        raise ConfigurationError("; ".join(filter(None, missing)))
    if here.settings.s3_bucket is not None:
        here.archive.check()


def _examine(here: Services) -> Iterator[Finding]:
    """A part that cannot be asked is one finding and hinders no other."""
    yield from _tried("ledger", _ledger, here)
    broker = _broker(here)
    yield broker
    if broker.verdict is not Verdict.FAIL:
        yield from examine_queues()
    yield from _tried("bucket", _bucket, here)
    yield from _tried("signing keys", _signing_keys, here)
    yield _public_url(here)
    yield from examine_proxies(here)
    yield from examine_keys(here)
    yield from _tried("result hosts", examine_hosts, here)
    yield from _tried("budgets", _budgets, here)
    for check in (_clocks, _workers, _waits, examine_others, _states, _overdue, _subscribers, _dead_letters):
        # The ledger's own finding says already why these cannot be asked.
        yield from _tried("", check, here)


def _tried(name: str, check: Callable[[Services], Iterator[Finding]], here: Services) -> Iterator[Finding]:
    try:
        yield from check(here)
    except DarkroomError as error:
        if name:
            yield Finding(name, Verdict.FAIL, str(error))


def _ledger(here: Services) -> Iterator[Finding]:
    require_ledger(here.settings)
    here.ledger.maintenance.ping()
    otherwise = migrations.check(here.ledger.database)
    kind = "SQLite" if here.ledger.database.is_sqlite else "PostgreSQL"
    if here.ledger.database.is_pooled:
        # It works, and costs a round trip in each transaction, which somebody who looks for speed should know.
        kind = "PostgreSQL through a pooler (one more round trip for each transaction)"
    if otherwise:
        yield Finding("ledger", Verdict.WARN, f"{kind}; {otherwise}: use the newer version here too")
    else:
        yield Finding("ledger", Verdict.OK, f"{kind}, its tables are up to date")


def _broker(here: Services) -> Finding:
    try:
        with redis_client(here.settings.redis_url, _PATIENCE) as redis:
            server, memory = redis.info("server"), redis.info("memory")
    except (RedisError, OSError) as error:
        advice = "start `darkroom up`, which brings its own, or set REDIS_URL to one that is running"
        reason = _CLIENTS.sub("", str(error)).rstrip(".")
        return Finding("broker", Verdict.FAIL, f"does not answer: {reason}; {advice}")
    version = str(server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_BROKER:
        return Finding("broker", Verdict.FAIL, f"Redis {version} is too old: Celery needs 6.2 or newer")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        advice = "set it to noeviction, any other drops work when memory is short (it is found again, but late)"
        return Finding("broker", Verdict.WARN, f"maxmemory-policy is {policy}: {advice}")
    return Finding("broker", Verdict.OK, f"Redis {version}, or compatible")


def _bucket(here: Services) -> Iterator[Finding]:
    here.archive.check()
    shortcomings = here.archive.probe()
    yield Finding("bucket", Verdict.OK, f"{here.archive.bucket} takes and gives back what is put there")
    for shortcoming in shortcomings:
        yield Finding("bucket", Verdict.WARN, f"{here.archive.bucket} {shortcoming}")


def _signing_keys(here: Services) -> Iterator[Finding]:
    if here.settings.darkroom_signing_keys is None and here.settings.public_url is None:
        yield Finding("signing keys", Verdict.OK, "not needed without PUBLIC_URL")
        return
    # Built to be checked; it has nothing to tell.
    _ = here.signer
    yield Finding("signing keys", Verdict.OK, "can be read")


def _public_url(here: Services) -> Finding:
    url = here.settings.public_url
    if url is None:
        return Finding("public URL", Verdict.OK, "PUBLIC_URL is not set: results are asked for, which takes longer")
    asked = f"{url}/livez"
    try:
        with _opener().open(asked, timeout=_PATIENCE) as answer:
            arrived = answer.url
    except urllib.error.HTTPError as error:
        message = f"{asked} answers with status {error.code}: let {url} lead to the receiver"
        return Finding("public URL", Verdict.FAIL, message)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        advice = "start the receiver, or let PUBLIC_URL lead to it; until then results are asked for"
        return Finding("public URL", Verdict.FAIL, f"{asked} cannot be reached from here: {reason}; {advice}")
    if arrived != asked:
        advice = "a redirected callback loses its body, so set PUBLIC_URL to where that leads"
        return Finding("public URL", Verdict.FAIL, f"{asked} redirects to {arrived}: {advice}")
    if _is_private(str(urlsplit(url).hostname)):
        return Finding("public URL", Verdict.WARN, f"{url} is a private address: only programs near can call it")
    return Finding("public URL", Verdict.OK, f"{asked} answers")


def _opener() -> urllib.request.OpenerDirector:
    """Opens http:// and https:// links whose answers, with each redirect, end in time."""

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, asked: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(TimedConnection, asked)

    class Tls(urllib.request.HTTPSHandler):
        def https_open(self, asked: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(TimedTlsConnection, asked)

    return urllib.request.build_opener(Plain, Tls)


def _is_private(host: str) -> bool:
    try:
        return not is_public(read_address(host))
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".internal", ".localhost"))


def _clocks(here: Services) -> Iterator[Finding]:
    # The database's is measured when something is asked.
    here.ledger.maintenance.ping()
    errors: dict[str, timedelta | None] = {"database": here.ledger.database.local_error}
    # A broker that does not answer has its own finding.
    with suppress(OperationalError, RedisError, OSError):
        errors["broker"] = broker_error()
    for whose, error in errors.items():
        if wrong := complaint(whose, error):
            yield Finding("clocks", Verdict.WARN, wrong)


def _workers(here: Services) -> Iterator[Finding]:
    now = here.clock()
    beats = here.ledger.maintenance.heartbeats()
    alive = [beat for beat in beats if beat.silence(now) <= SILENCE]
    for beat in beats:
        if SILENCE < (silence := beat.silence(now)) <= _RECENT:
            message = f"{beat.worker} was heard {duration(silence)} ago: restart it, if it was not stopped on purpose"
            yield Finding("workers", Verdict.WARN, message)
    names = [beat.worker for beat in alive if not beat.is_too_old]
    # Where there are no others, that is why all waits.
    if names and (old := [beat.worker for beat in alive if beat.is_too_old]):
        message = f"{', '.join(old)} at work with a version that is too old for the ledger, and begins nothing"
        yield Finding("workers", Verdict.FAIL, f"{message}: start the newer version instead")
    yield from _different_limits(alive)
    if any(not name.startswith(CLOCK) for name in names):
        yield Finding("workers", Verdict.OK, f"{', '.join(names)} at work")


def _waits(here: Services) -> Iterator[Finding]:
    for wait in waits_of(here.ledger, here.settings):
        numbers = {"waiting": wait.count} if wait.count is not None else {}
        verdict = Verdict.FAIL if wait.fails else Verdict.WARN
        yield Finding(_CHECKS.get(wait.cause, "pauses"), verdict, wait.told, numbers)


def _different_limits(beats: Iterable[Heartbeat]) -> Iterator[Finding]:
    """Whoever is set to more uses the same account as fast as that says."""
    for name in sorted({name for beat in beats for name in beat.limits}):
        values = {beat.worker: beat.limits[name] for beat in beats if name in beat.limits}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value:g} for {worker}" for worker, value in values.items())
            yield Finding("workers", Verdict.WARN, f"{name} is {told}: set the same for all, the largest counts")


def _budgets(here: Services) -> Iterator[Finding]:
    prices, file = here.prices, here.settings.darkroom_prices
    if prices is None:
        return
    caps = here.ledger.budgets.standings(prices)
    for name in filter(partial(is_set_up, here), PROVIDERS):
        if caps and not prices.knows(name):
            yield Finding("budgets", Verdict.WARN, f"{file} has no price for {name}: what is made there counts as free")
        if prices.knows(name) and (missing := assumed_at(name, prices, file)):
            yield Finding("prices", Verdict.WARN, missing)
    if not any(cap.waiting for cap in caps):
        left = "; ".join(f"{cap.name} has {prices.text(cap.left)} left" for cap in caps if cap.budget is not By.BATCH)
        yield Finding("budgets", Verdict.OK, left or "prices are known, there is no cap for the day")


def _states(here: Services) -> Iterator[Finding]:
    counts = here.ledger.generations.counts()
    if unconfirmed := counts.get(State.UNCONFIRMED):
        advice = "`darkroom unconfirmed` tells what is known of them, `darkroom resolve` takes what you find out"
        message = f"{unconfirmed} may have been taken and paid for, nobody knows: {advice}"
        yield Finding("unconfirmed", Verdict.WARN, message)
    if expired := counts.get(State.EXPIRED):
        advice = "`darkroom list --state expired` names them, `darkroom retry` asks for their links again"
        yield Finding("expired", Verdict.WARN, f"{expired} lost a link before its bytes were here: {advice}")


def _overdue(here: Services) -> Iterator[Finding]:
    now = here.clock()
    submitted = here.ledger.generations.page(state=State.SUBMITTED, limit=_MANY)
    overdue = [one for one in submitted if now - (one.submitted_at or now) > _OVERDUE]
    if overdue:
        message = f"{len(overdue)} were submitted more than {duration(_OVERDUE)} ago, such as {overdue[-1].id}: "
        yield Finding("overdue", Verdict.WARN, f"{message}see what its provider says about it")


def _subscribers(here: Services) -> Iterator[Finding]:
    now = here.clock()
    wanted = partial(is_wanted, wanted=patterns(here.settings.darkroom_notify_events))
    for one in here.ledger.events.failing_subscribers(wanted):
        waiting = "1 event waits" if one.waiting == 1 else f"{one.waiting} events wait"
        failed = "its last try failed" if one.failures == 1 else f"its last {one.failures} tries failed"
        again = f"in {duration(one.tried_at - now)}" if one.tried_at and one.tried_at > now else "now"
        message = f"{waiting} for {one.subscriber}, the oldest for {duration(now - one.since)}; {failed}"
        advice = f"the next is {again}; see to it: an event is given up after ten tries over 14 hours"
        yield Finding("subscribers", Verdict.WARN, f"{message}: {one.error or 'it gave no reason'}; {advice}")


def _dead_letters(here: Services) -> Iterator[Finding]:
    callbacks, events = here.ledger.callbacks.dead(_MANY), here.ledger.events.dead(_MANY)
    follow_ups = here.ledger.generations.refused_follow_ups(_MANY)
    for kind, found in (("callbacks", callbacks), ("events", events), ("follow-ups", follow_ups)):
        number = len(found)
        if number:
            count = f"{number} or more" if number == _MANY else str(number)
            advice = "`darkroom dead` says why, `dead replay` tries them again, `dead dismiss` takes them off the list"
            yield Finding(kind, Verdict.WARN, f"{count} were given up: {advice}")
