"""One run: machine, wishes and faults together, and what the audits say in the end."""

import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from pprint import pformat

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tests.chaos import audit, machine, naive, naive_audit
from tests.chaos.approver import Approver
from tests.chaos.databases import database
from tests.chaos.faults import KILLS, STRIKES, Strikes
from tests.chaos.findings import Findings
from tests.chaos.machine import Machine
from tests.chaos.plan import Planned, plan
from tests.chaos.wishes import Order, Wish, order_from_ledger, wishes
from webhook.sandbox.faults import REFUSALS
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger

#: seconds after the last fault in which everything must have found its end
LIMIT = 60
#: seconds after which nobody waits any longer; more than the limit, to tell how late it was
_PATIENCE = 120
#: seconds for which generations are asked for after the last fault
_LONGER = 4.0
#: what the provider and its network always do wrong: the probability for each submission (or download)
PROVIDER_FAULTS = {
    "too_many": 0.02, "unavailable": 0.01, "error_before": 0.005, "error_after": 0.02, "hang": 0.003, "reset": 0.02,
    "early": 0.05, "duplicate": 0.1, "reorder": 0.05, "drop": 0.05, "fail": 0.01, "truncated": 0.01,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What is to be done. `kills_only`: nothing but kills, of workers and of the broker, among tiny generations."""

    generations: int
    faults: int
    seed: int
    database: str
    kills_only: bool
    naive: bool


@dataclass(frozen=True)
class Result:
    """`seconds` and `naive_seconds`: from the last fault until nothing more happened."""

    findings: Findings
    seconds: float
    faults_by_name: Mapping[str, int]
    requests_by_fault: Mapping[str, int]
    missed: Sequence[str]
    duration: float
    naive: Findings | None = None
    naive_seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.findings.nothing_is_wrong and self.seconds <= LIMIT and not self.missed


def carry_out(wanted: Run, folder: Path) -> Result:
    """Everything is left in `folder`."""
    started = time.monotonic()
    chance = random.Random(wanted.seed)
    planned = plan(wanted.faults, KILLS if wanted.kills_only else list(STRIKES), chance)
    # A little longer, so that the last fault, too, finds work under way.
    seconds = 0.0 if wanted.kills_only else planned[-1].at + _LONGER
    asked = wishes(wanted.generations, tiny=wanted.kills_only)
    settings = {"ACEDATACLOUD_RATE": "1000", "ACEDATACLOUD_IN_FLIGHT": "5000", "DARKROOM_POLL_SECONDS": "2"}
    with ExitStack() as stack:
        ledger_database = stack.enter_context(database(wanted.database, folder))
        running = stack.enter_context(
            machine.running(
                folder,
                ledger_database,
                seed=chance.randrange(2**31),
                delay=0.2 if wanted.kills_only else 1.0,
                provider_faults={} if wanted.kills_only else PROVIDER_FAULTS,
                naive=wanted.naive,
                **settings,
            )
        )
        ledger = Ledger(ledger_database.direct_url)
        stack.callback(ledger.close)
        orders = [order_from_ledger(ledger, asked, seconds)]
        if wanted.naive:
            orders.append(_order_by_message(running, asked, seconds))
        approver = Approver(running.env, ledger_database.direct_url)
        stack.callback(approver.stop)
        began = time.monotonic()
        for thread in (*orders, approver):
            thread.start()
        strikes = Strikes(running, lambda what: _say(began, what))
        strikes.carry_out(planned, _by_progress(ledger, wanted) if wanted.kills_only else _by_time(began))
        stop_faults(running)
        last_fault = time.monotonic()
        _say(began, "that was the last fault")
        ours = _until(lambda: _is_settled(ledger, orders[0], running), last_fault, _PATIENCE)
        findings = audit.audit(
            ledger,
            orders[0].names,
            running.ask_provider("bill"),
            running.ask_provider("log?kind=download"),
            running.bucket,
        )
        _keep(findings, ledger, running)
        met = {} if wanted.kills_only else _requests_that_met(running)
        theirs, naive_findings = 0.0, None
        if wanted.naive:
            broker = machine.naive_broker(running.env)
            theirs = _until(lambda: not orders[1].is_alive() and _is_quiet(broker), last_fault, LIMIT)
            bill, downloads = running.ask_provider("bill", 1), running.ask_provider("log?kind=download", 1)
            naive_findings = naive_audit.audit(orders[1].names, bill, downloads, running.bucket)
    errors = [f"not all was ordered: {order.error}" for order in orders if order.error]
    errors += [f"not all was decided: {approver.error}"] if approver.error else []
    missed = [*strikes.missed, *errors]
    return Result(findings, ours, strikes.struck, met, missed, time.monotonic() - started,
                  naive_findings, theirs)  # fmt: skip


def stop_faults(running: Machine) -> None:
    for provider in running.providers:
        machine.set_faults(provider, {})


def _order_by_message(running: Machine, asked: Sequence[Wish], seconds: float) -> Order:
    naive.app.conf.broker_url = machine.naive_broker(running.env)

    def send(group: Sequence[Wish]) -> None:
        for wish in group:
            while True:
                try:
                    naive.generate.delay(wish.name, wish.prompt)
                    break
                except (OperationalError, RedisError, OSError):
                    time.sleep(1)

    return Order(asked, seconds, send, ())


def _by_time(began: float) -> Callable[[Planned], None]:
    return lambda one: time.sleep(max(0.0, began + one.at - time.monotonic()))


def _by_progress(ledger: Ledger, wanted: Run) -> Callable[[Planned], None]:
    """Evenly over the work, however long it takes."""
    struck = 0

    def wait(_: Planned) -> None:
        nonlocal struck
        struck += 1
        enough = wanted.generations * struck / (wanted.faults + 1)
        deadline = time.monotonic() + _PATIENCE
        while _archived(ledger) < enough and time.monotonic() < deadline:
            time.sleep(0.2)

    return wait


def _archived(ledger: Ledger) -> int:
    try:
        return ledger.generations.counts().get(State.ARCHIVED, 0)
    except LedgerUnavailable:
        return 0


def _is_settled(ledger: Ledger, order: Order, running: Machine) -> bool:
    if order.is_alive():
        return False
    try:
        return audit.is_settled(ledger, order.names, lambda: running.ask_provider("bill"))
    except LedgerUnavailable:
        return False


def _is_quiet(broker: str) -> bool:
    try:
        return naive_audit.is_quiet(broker)
    except (OperationalError, RedisError):
        return False


def _until(is_over: Callable[[], bool], since: float, patience: float) -> float:
    """Seconds from then until it was over, or until nobody waits any longer."""
    while not is_over() and time.monotonic() < since + patience:
        time.sleep(0.5)
    return time.monotonic() - since


def _keep(findings: Findings, ledger: Ledger, running: Machine) -> None:
    """What a person needs who looks for the cause of a complaint; the database itself may be gone soon."""
    if findings.nothing_is_wrong:
        return
    named = set(re.findall(r"gen_\w+", " ".join(findings.complaints)))
    stories = "\n\n".join(pformat(asdict(ledger.generations.story(one)), width=160) for one in sorted(named))
    (running.folder / "stories.txt").write_text("\n".join([*findings.complaints, "", stories]))
    (running.folder / "provider.json").write_text(json.dumps(running.ask_provider("log"), indent=0))


def _requests_that_met(running: Machine) -> Counter[str]:
    """How many requests met which fault: of our provider by its own log, of the S3 server by the gate before it."""
    refused = (entry["fault"] for entry in running.ask_provider("log?kind=submit") if entry.get("fault") in REFUSALS)
    accepted = (knob for task in running.ask_provider(f"tasks?limit={10**6}") for knob in task["faults"])
    downloads = (entry["fault"] for entry in running.ask_provider("log?kind=download") if entry.get("fault"))
    return Counter(chain(refused, accepted, downloads)) + Counter(
        {f"S3 {mode}": count for mode, count in running.gate.met.items()}
    )


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="darkroom-chaos-"))


def _say(began: float, what: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)
