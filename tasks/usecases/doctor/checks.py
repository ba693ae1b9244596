"""Checks of `darkroom doctor`: each finding is one sentence with the state and the remedy."""

import http.client
import os
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from kombu.exceptions import OperationalError
from redis import RedisError

from tasks.durations import duration
from tasks.subscriptions import subscriptions_of
from tasks.usecases.assumed_prices import assumed_at
from tasks.usecases.clocks import broker_error, complaint
from tasks.usecases.doctor.accounts import examine_notices, examine_others, is_set_up, key_checks, require_a_provider
from tasks.usecases.doctor.finding import Diagnosis, Finding, Verdict
from tasks.usecases.doctor.hosts import examine_hosts
from tasks.usecases.doctor.parallel import Check, run
from tasks.usecases.doctor.proxies import examine_proxies
from tasks.usecases.doctor.queues import examine_queues
from tasks.usecases.doctor.sandbox import examine_sandbox
from tasks.usecases.doctor.stopped import examine_stopped
from tasks.usecases.services import require_ledger
from tasks.waiting import CLOCK, OF_BATCHES, SILENCE, Cause, waits_of
from worker.archive import StoreLimit
from worker.embedded import OLDEST_BROKER, is_embedded_bucket, running_since
from worker.errors import ConfigurationError, DarkroomError
from worker.generation import State
from worker.ledger import migrations
from worker.ledger.budget import By
from worker.ledger.maintenance import Heartbeat
from worker.net import TimedConnection, TimedTlsConnection, is_public, read_address
from worker.providers import PROVIDERS
from worker.secrets import described
from worker.services import Services
from worker.settings import Settings, env_file_warnings, misspelt_settings, redis_client
from worker.subscribers import NOTIFY_PREFIX

#: seconds for one answer of the broker or the receiver
_PATIENCE = 3
#: a process that `darkroom up` started this recently may not have sent a heartbeat yet
_STARTING = timedelta(seconds=30)
#: a submitted generation without a result for this long was probably forgotten
_OVERDUE = timedelta(hours=1)
#: a worker with a heartbeat within this time that is silent now was probably not stopped on purpose
_RECENT = timedelta(hours=1)
_MANY = 1000
#: how redis-py prints the sentinels that it queried, before what each of them replied
_CLIENTS = re.compile(r"<redis\.client\.Redis\(.*?\)>\)>\)> - ")
#: names of the causes of waiting in `darkroom doctor`
_CHECKS = {
    Cause.RESTORE_GUARD: "restore guard",
    Cause.WORKERS: "workers",
    Cause.CLOCK: "workers",
    **dict.fromkeys(OF_BATCHES, "batches"),
    Cause.BUDGET: "budgets",
    Cause.DOWNLOAD: "downloads",
    Cause.APPROVAL: "approvals",
}


def diagnose(read_settings: Callable[[], Settings], tell: Callable[[Finding], None] = lambda _: None) -> Diagnosis:
    """Check everything that Darkroom needs; settings that cannot be read are a finding, too, and then the only one.

    `tell` gets each finding as soon as it is known, in any order.
    """
    try:
        settings = read_settings()
    except ConfigurationError as error:
        wrong = tuple(Finding("settings", Verdict.FAIL, line) for line in str(error).splitlines())
        for finding in wrong:
            tell(finding)
        return Diagnosis(wrong)
    with closing(Services(settings)) as here:
        return Diagnosis(run(tuple(_checks(here)), tell))


def check_before_start(here: Services, *, has_broker: bool) -> None:
    """Raise ConfigurationError for what would only fail when the first generation is submitted or archived.

    `has_broker`: the settings name a broker that is already running. Raises ArchiveError for an unusable bucket.
    """
    # Each raises if it cannot be created.
    _ = here.signer, here.ledger, here.prices
    if has_broker and (broker := _broker(here)).verdict is Verdict.FAIL:
        raise ConfigurationError(f"REDIS_URL: the broker {broker.message}")
    require_a_provider(here)
    if here.settings.s3_bucket is not None:
        here.archive.check()


def _checks(here: Services) -> Iterator[Check]:
    """Yield the checks in the order of `--json`."""
    stopped = examine_stopped(here.settings)
    yield Check("settings", _settings)
    yield Check("ledger", partial(_ledger, here))
    if stopped:
        yield Check("broker", lambda: stopped)
    else:
        yield Check("broker", partial(_broker_and_queues, here))
        yield Check("bucket", partial(_bucket, here))
    if here.settings.darkroom_signing_keys is not None:
        yield Check("signing keys", partial(_signing_keys, here))
    if (url := here.settings.public_url) is not None and not stopped:
        yield Check("public URL", lambda: (_public_url(url),))
    yield Check("proxy", partial(examine_proxies, here))
    yield from key_checks(here)
    yield Check("notices", partial(examine_notices, here))
    yield Check("result hosts", partial(examine_hosts, here))
    yield Check("", partial(examine_sandbox, here))
    yield Check("budgets", partial(_budgets, here))
    for check in (_clocks, *_OF_THE_LEDGER):
        # The ledger's own finding already says why these cannot be checked.
        yield Check("", partial(check, here))


def unanswered(here: Services) -> Iterator[str]:
    """Run all of `diagnose`'s ledger queries; yield the reason for each that fails."""
    for ask in (_ledger, _budgets, *_OF_THE_LEDGER):
        try:
            for _ in ask(here):
                pass
        except DarkroomError as error:
            yield str(error)
        except Exception as error:  # noqa: BLE001  whatever it is, doctor would fail because of it
            yield described(error)


def _settings() -> Iterator[Finding]:
    wrong = (*misspelt_settings(os.environ), *env_file_warnings(os.environ))
    yield from (Finding("settings", Verdict.WARN, sentence) for sentence in wrong)
    if not wrong:
        yield Finding("settings", Verdict.OK, "valid")


def _broker_and_queues(here: Services) -> Iterator[Finding]:
    broker = _broker(here)
    yield broker
    if broker.verdict is not Verdict.FAIL:
        yield from examine_queues()


def _ledger(here: Services) -> Iterator[Finding]:
    require_ledger(here.settings)
    here.ledger.maintenance.ping()
    otherwise = migrations.check(here.ledger.database)
    kind = "SQLite" if here.ledger.database.is_sqlite else "PostgreSQL"
    if here.ledger.database.is_pooled:
        # It works, but costs a round trip per transaction, which matters to anyone looking for speed.
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
        advice = "start `darkroom up`, which runs its own, or set REDIS_URL to a running one"
        reason = _CLIENTS.sub("", str(error)).rstrip(".")
        return Finding("broker", Verdict.FAIL, f"does not answer: {reason}; {advice}")
    version = str(server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_BROKER:
        return Finding("broker", Verdict.FAIL, f"Redis {version} is too old: Celery needs 6.2 or newer")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        advice = "set it to noeviction; any other policy loses wake-ups when memory runs out, which delays work"
        return Finding("broker", Verdict.WARN, f"maxmemory-policy is {policy}: {advice}")
    return Finding("broker", Verdict.OK, f"Redis {version}, or compatible")


def _bucket(here: Services) -> Iterator[Finding]:
    here.archive.check()
    shortcomings = here.archive.probe()
    if is_embedded_bucket(os.environ, here.settings.darkroom_data):
        # What it does not support is inherent to it, and nothing that a user could change.
        yield Finding("bucket", Verdict.OK, "embedded S3 server: writable and readable")
        return
    yield Finding("bucket", Verdict.OK, f"{here.archive.bucket}: writable and readable")
    for shortcoming in shortcomings:
        verdict = Verdict.OK if isinstance(shortcoming, StoreLimit) else Verdict.WARN
        yield Finding("bucket", verdict, f"{here.archive.bucket} {shortcoming}")


def _signing_keys(here: Services) -> Iterator[Finding]:
    # Created only as a check; it reports nothing.
    _ = here.signer
    yield Finding("signing keys", Verdict.OK, "valid")


def _public_url(url: str) -> Finding:
    asked = f"{url}/livez"
    try:
        with _opener().open(asked, timeout=_PATIENCE) as answer:
            arrived = answer.url
    except urllib.error.HTTPError as error:
        message = f"{asked} answers with status {error.code}: point PUBLIC_URL to the receiver"
        return Finding("public URL", Verdict.FAIL, message)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        advice = "start the receiver, or correct PUBLIC_URL; until then results are polled"
        return Finding("public URL", Verdict.FAIL, f"{asked} cannot be reached from here: {reason}; {advice}")
    if arrived != asked:
        advice = "a redirected callback loses its body, so set PUBLIC_URL to the target"
        return Finding("public URL", Verdict.FAIL, f"{asked} redirects to {arrived}: {advice}")
    if _is_private(str(urlsplit(url).hostname)):
        return Finding("public URL", Verdict.WARN, f"{url} is a private address: only reachable from this network")
    return Finding("public URL", Verdict.OK, f"{asked} answers")


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener of http:// and https:// links that limits the time of each response and redirect."""

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
    # The database's clock is measured on a query.
    here.ledger.maintenance.ping()
    errors: dict[str, timedelta | None] = {"database": here.ledger.database.local_error}
    # An unresponsive broker has its own finding.
    with suppress(OperationalError, RedisError, OSError):
        errors["broker"] = broker_error()
    for whose, error in errors.items():
        if wrong := complaint(whose, error):
            yield Finding("clocks", Verdict.WARN, wrong)


def _workers(here: Services) -> Iterator[Finding]:
    now = here.clock()
    beats = [beat for beat in here.ledger.maintenance.heartbeats() if not beat.is_stopped]
    alive = [beat for beat in beats if beat.silence(now) <= SILENCE]
    for beat in beats:
        if SILENCE < (silence := beat.silence(now)) <= _RECENT:
            message = f"{beat.worker} has been silent for {duration(silence)}: restart it, unless you stopped it"
            yield Finding("workers", Verdict.WARN, message)
    working = [beat for beat in alive if not beat.is_too_old]
    # If there are no other workers, this is why everything waits.
    if working and (old := [beat.worker for beat in alive if beat.is_too_old]):
        message = f"{', '.join(old)} running a version that is too old for the ledger, and taking no work"
        yield Finding("workers", Verdict.FAIL, f"{message}: start the newer version instead")
    yield from _different_limits(alive)
    if any(beat.role != CLOCK for beat in working):
        numbers = Counter(beat.role for beat in working)
        # The clock comes last; most installations have only one.
        roles = sorted(numbers, key=lambda role: (role == CLOCK, role))
        told = ", ".join(f"{numbers[role]} {role}{'s' * (numbers[role] > 1)}" for role in roles)
        yield Finding("workers", Verdict.OK, told, dict(numbers))


def _waits(here: Services) -> Iterator[Finding]:
    began = running_since(here.settings.darkroom_data)
    age = datetime.now(UTC) - began if began else _STARTING
    for wait in waits_of(here.ledger, here.settings):
        if wait.cause is Cause.WORKERS and age < _STARTING:
            message = f"started {duration(age)} ago, waiting for the first heartbeat"
            yield Finding("workers", Verdict.WARN, message)
            continue
        numbers = {"waiting": wait.count} if wait.count is not None else {}
        verdict = Verdict.FAIL if wait.fails else Verdict.WARN
        if wait.cause in {Cause.BATCH_START, Cause.BATCH_LIMIT, Cause.APPROVAL}:
            verdict = Verdict.OK
        yield Finding(_CHECKS.get(wait.cause, "pauses"), verdict, wait.told, numbers)


def _different_limits(beats: Iterable[Heartbeat]) -> Iterator[Finding]:
    """The worker with the highest limit uses the shared account at that rate."""
    for name in sorted({name for beat in beats for name in beat.limits}):
        values = {beat.worker: beat.limits[name] for beat in beats if name in beat.limits}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value:g} for {worker}" for worker, value in values.items())
            yield Finding("workers", Verdict.WARN, f"{name} is {told}: set the same value for all; the largest applies")


def _budgets(here: Services) -> Iterator[Finding]:
    prices, file = here.prices, here.settings.darkroom_prices
    if prices is None:
        return
    caps = here.ledger.budgets.standings(prices)
    for name in filter(partial(is_set_up, here), PROVIDERS):
        if caps and not prices.knows(name):
            yield Finding("budgets", Verdict.WARN, f"{file} has no price for {name}: its generations count as free")
        if prices.knows(name) and (missing := assumed_at(name, prices, file)):
            yield Finding("prices", Verdict.WARN, missing)
    if not any(cap.waiting for cap in caps):
        daily = [cap for cap in caps if cap.budget not in {By.BATCH, By.LABEL}]
        left = "; ".join(f"{cap.name} has {prices.text(cap.left)} left" for cap in daily)
        yield Finding("budgets", Verdict.OK, left or "prices configured, no daily cap")


def _states(here: Services) -> Iterator[Finding]:
    counts = here.ledger.generations.counts()
    if unconfirmed := counts.get(State.UNCONFIRMED):
        advice = "`darkroom unconfirmed` shows what is known, `darkroom resolve` records what you find out"
        message = f"{unconfirmed} may have been submitted and paid for: {advice}"
        yield Finding("unconfirmed", Verdict.WARN, message)
    if expired := counts.get(State.EXPIRED):
        advice = "`darkroom list --state expired` shows them, `darkroom retry` asks for new links"
        yield Finding("expired", Verdict.WARN, f"{expired} expired before download: {advice}")


def _overdue(here: Services) -> Iterator[Finding]:
    now = here.clock()
    submitted = here.ledger.generations.page(state=State.SUBMITTED, limit=_MANY)
    overdue = [one for one in submitted if now - (one.submitted_at or now) > _OVERDUE]
    if overdue:
        message = (
            f"{len(overdue)} submitted more than {duration(_OVERDUE)} ago without a result, such as {overdue[-1].id}: "
        )
        yield Finding("overdue", Verdict.WARN, f"{message}check the provider's dashboard")


def _subscribers(here: Services) -> Iterator[Finding]:
    now = here.clock()
    known = subscriptions_of(here.ledger, here.settings)

    def is_wanted(subscriber: str, event_type: str) -> bool:
        if subscriber.startswith(NOTIFY_PREFIX):
            # The type does not show whether an event goes to one of its addresses.
            return False
        return subscriber not in known or known[subscriber].wanted.is_wanted(event_type)

    for row in here.ledger.events.known_subscribers():
        if row.origin is not None and here.settings.darkroom_notify_secret is None:
            message = f"events for {row.name} wait: DARKROOM_NOTIFY_SECRET, which signs them, is not set"
            yield Finding("subscribers", Verdict.WARN, message)
        if row.disabled_at is not None:
            advice = f"`darkroom subscriber enable {row.name}` continues where it stopped"
            message = f"{row.name} was disabled {duration(now - row.disabled_at)} ago: {row.disabled_reason}; {advice}"
            yield Finding("subscribers", Verdict.WARN, message)
    for one in here.ledger.events.failing_subscribers(is_wanted):
        waiting = "1 event waiting" if one.waiting == 1 else f"{one.waiting} events waiting"
        failed = "its last try failed" if one.failures == 1 else f"its last {one.failures} tries failed"
        again = f"in {duration(one.tried_at - now)}" if one.tried_at and one.tried_at > now else "now"
        message = f"{waiting} for {one.subscriber}, the oldest for {duration(now - one.since)}; {failed}"
        advice = f"the next is {again}; fix it soon: an event is abandoned after ten tries over 14 hours"
        yield Finding("subscribers", Verdict.WARN, f"{message}: {one.error or 'no reason given'}; {advice}")


def _dead_letters(here: Services) -> Iterator[Finding]:
    callbacks, events = here.ledger.callbacks.dead(_MANY), here.ledger.events.dead(_MANY)
    follow_ups = here.ledger.generations.refused_follow_ups(_MANY)
    for kind, found in (("callbacks", callbacks), ("events", events), ("follow-ups", follow_ups)):
        number = len(found)
        if number:
            count = f"{number} or more" if number == _MANY else str(number)
            advice = "`darkroom dead` shows why; `dead replay` tries again, `dead dismiss` clears the list"
            yield Finding(kind, Verdict.WARN, f"{count} abandoned: {advice}")


_OF_THE_LEDGER = (_workers, _waits, examine_others, _states, _overdue, _subscribers, _dead_letters)
