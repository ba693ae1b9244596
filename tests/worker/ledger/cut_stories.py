"""What the callers of the ledger do, one verb after the other, and what each does when the ledger was away just then.

Together the stories use every verb that writes; `test_cut_commits` cuts the connection at each of them in turn.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    delivery,
    failure,
    new,
    success,
)  # fmt: skip
from tests.worker.ledger.purses import NO_CAP, totals
from worker.errors import AccountBlocked, CallbackUnreadable, DarkroomError, LedgerUnavailable
from worker.generation import Generation, Outcome, Refused, State, Status
from worker.ledger import Ledger
from worker.ledger.access import NewAction, NewSession, NewToken, NewUser, Once, Role
from worker.ledger.approvals import ApprovalState
from worker.ledger.assets import ArchiveClaim, Archived, Lost, ThumbnailMade, ThumbnailResult
from worker.ledger.changes import Person
from worker.ledger.dispatch import ProviderMove
from worker.ledger.events import DeliveryFilter, Handed, NewSubscriber, NotifyClaim
from worker.ledger.generations import FileBatch, NewApproval, NewGeneration, Orphan, dedupe_of_step
from worker.ledger.inputs import InputFile
from worker.ledger.maintenance import Tally, TallyKey
from worker.ledger.marks import Mark
from worker.ledger.outcome import News, StoredCallback
from worker.ledger.restore_guard import ASLEEP, Marker
from worker.ledger.schema import assets, attempts, batches, callbacks, events, generations, label_budgets
from worker.ledger.submission import Claim, Decision, Submitted
from worker.recipes import After, Chooser, Pick, Recipe, Step
from worker.subscribers import NotifyAddress

SHOP = "shop"
#: no process of this machine has it
NO_PID = 2**22 + 1
SOMEBODY = Person("somebody")


@dataclass(frozen=True)
class Ending:
    """What must be the same whether or not a connection was lost on the way."""

    #: prompt and state; and of attempts that may have been sent
    generations: Counter[tuple[str, str]]
    attempts: Counter[tuple[str, str]]
    assets: Counter[str]
    #: verdicts
    callbacks: Counter[str]
    #: type and prompt
    events: Counter[tuple[str, str | None]]
    #: state of the charges → amount
    money: Mapping[str, int]
    #: prompt → how often it was sent
    posts: Counter[str]
    untold: frozenset[int]
    due: frozenset[str]


class Process:
    """One process that works with a ledger; `around` is entered with the name of each verb, and may cut its COMMIT."""

    def __init__(self, ledger: Ledger, clock: FakeClock, around: Callable[[str], AbstractContextManager[None]]) -> None:
        self.ledger = ledger
        self.clock = clock
        self._around = around
        self.posts: Counter[str] = Counter()
        #: ids of the events that the subscriber has
        self.told: set[int] = set()

    # --- how callers go on when the ledger was away ---

    def do(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """Call a verb of the ledger: `part.verb`."""
        part, _, name = verb.partition(".")
        with self._around(verb):
            return getattr(getattr(self.ledger, part), name)(*arguments, **options)

    def repeat(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """As a drain does with results, the clock in the next second, a provider with a callback that got 503."""
        try:
            return self.do(verb, *arguments, **options)
        except LedgerUnavailable:
            return self.do(verb, *arguments, **options)

    def come_again(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """As tasks that claim: the next one comes when the lease is over."""
        try:
            return self.do(verb, *arguments, **options)
        except LedgerUnavailable:
            self.a_lease_later()
            return self.do(verb, *arguments, **options)

    def try_once(self, verb: str, *arguments: Any, **options: Any) -> None:
        """What nobody repeats: another one comes, or it was of use only then."""
        with suppress(LedgerUnavailable):
            self.do(verb, *arguments, **options)

    def command(self, verb: str, *arguments: Any, **options: Any) -> None:
        """A person says it once more, and may hear that there is nothing left to do."""
        try:
            self.do(verb, *arguments, **options)
        except LedgerUnavailable:
            with suppress(DarkroomError):
                self.do(verb, *arguments, **options)

    def a_lease_later(self) -> None:
        self.clock.advance(LEASE.total_seconds() + 1)
        self.ledger.submissions.mark_lost_unconfirmed()

    # --- the steps of the flow ---

    def submit(self, *, in_vain: bool = False) -> dict[str, Claim]:
        """Send all that waits, once each; by prompt. `in_vain`: the first task gets no thread to send anything."""
        claims: list[Claim] = []
        while self.ledger.maintenance.is_due("dispatch") or self.ledger.maintenance.is_due("submit"):
            self.repeat("dispatch.run", PROVIDER, PLENTY, NO_CAP)
            self.repeat("dispatch.run_tests", PROVIDER, PLENTY)
            try:
                claims += self.do("submissions.claim", 9, LEASE)
            except LedgerUnavailable:
                pass
            finally:
                # As each task ends: of what it has not begun by then.
                for claim in () if in_vain else claims:
                    self.posts[claim.generation.prompt] += self.ledger.submissions.begin(claim.attempt_id)
                self.repeat("submissions.requeue_unsent")
                in_vain = False
                self.clock.advance(1)
        self.try_once("submissions.renew", [claim.attempt_id for claim in claims], LEASE)
        return {claim.generation.prompt: claim for claim in claims}

    def send_all(self, outcome: Callable[[Claim], News], *, in_vain: bool = False) -> None:
        """Send all that waits, accept it, and apply the same outcome to each."""
        for claim in self.submit(in_vain=in_vain).values():
            self.accept(claim)
            self.repeat("generations.apply_outcomes", [outcome(claim)])

    def accept(self, *claims: Claim) -> None:
        self.repeat("submissions.record", [Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)

    def ingest(self, news_of: Callable[[StoredCallback], News]) -> None:
        while found := self.come_again("callbacks.claim", 9, LEASE):
            self.try_once("callbacks.renew", [one.id for one in found], LEASE)
            self.repeat("generations.apply_outcomes", [replace(news_of(one), callback_id=one.id) for one in found])

    def poll(self) -> None:
        """Everything has succeeded that is asked for."""
        while silent := self.come_again("submissions.claim_polls", 9, LEASE, POLL_AFTER):
            self.try_once("submissions.renew_polls", silent, LEASE)
            self.repeat(
                "generations.apply_outcomes", [success(one, task_id=one.task_id, cause="poll") for one in silent]
            )
            self.try_once("submissions.record_polled", silent)

    def look_in_vain(self, candidates: Sequence[str]) -> None:
        """For longer than the horizon; somebody else's tasks may be what is looked for."""
        self.clock.advance(hours=2)
        while silent := self.come_again("submissions.claim_polls", 9, LEASE, POLL_AFTER):
            self.try_once("generations.note_candidates", {one.attempt_id: candidates for one in silent})
            self.try_once("submissions.record_polled", silent)
            self.a_lease_later()

    def archive(self, work: Callable[[ArchiveClaim], Archived] = all_stored) -> None:
        while claims := self.come_again("assets.claim", 9, LEASE):
            self.try_once("assets.renew", claims, LEASE)
            self.repeat("assets.record", [work(claim) for claim in claims])

    def follow_up(self) -> None:
        while parents := self.ledger.generations.due_follow_ups(9):
            for parent in parents:
                child = new(f"{parent.prompt}, larger", parent_id=parent.id, batch_id=parent.batch_id)
                # Found again by the next task.
                self.try_once("generations.create_follow_ups", parent, [child], ["zoom is not offered"])

    def refuse_follow_ups(self) -> None:
        """They cannot be created, however often it is tried; a person has them tried once more after a fix."""
        tried: set[str] = set()
        while not (refused := self.ledger.generations.refused_follow_ups(9)):
            for parent in self.ledger.generations.due_follow_ups(9):
                self.try_once("generations.record_follow_up_failure", parent, "KeyError: 'zoom'")
                tried.add(parent.id)
            self.clock.advance(hours=1)
        assert {one.generation_id for one in refused} == tried
        for generation_id in tried:
            self.command("generations.retry_follow_ups", generation_id)

    def describe(self) -> None:
        while claim := self.come_again("assets.claim_manifest", LEASE):
            self.try_once("assets.renew_manifest", claim, LEASE)
            try:
                self.do("assets.record_manifest", claim)
            except LedgerUnavailable:
                self.a_lease_later()

    def make_thumbnails(self) -> None:
        with self.ledger.database.read() as connection:
            ids = connection.execute(select(assets.c.id)).scalars().all()
        # Whoever looks at them next asks again.
        self.repeat("assets.want_thumbnails", ids)
        self.try_once("assets.give_back_thumbnails", self.come_again("assets.claim_thumbnails", 1, LEASE))
        self.a_lease_later()
        while claims := self.come_again("assets.claim_thumbnails", 9, LEASE):
            self.try_once("assets.renew_thumbnails", claims, LEASE)
            made = ThumbnailMade(colour=0, dhash=0, bytes=1, width=1, height=1)
            self.repeat("assets.record_thumbnails", [ThumbnailResult(claim, made) for claim in claims])
        self.repeat("assets.want_thumbnail_again", ids[0])
        again = self.come_again("assets.claim_thumbnails", 9, LEASE)
        self.repeat("assets.record_thumbnails", [ThumbnailResult(claim, made) for claim in again])

    def notify(self, error: str | None = None) -> None:
        """Hand over what is due; with an `error`, the subscriber refuses the first one for good."""
        while claims := self.come_again("events.claim", [SHOP], 9, LEASE):
            self.try_once("events.renew", claims, LEASE)
            try:
                self._serve(claims[0], error)
            except LedgerUnavailable:
                self.a_lease_later()
            if error:
                return

    def _serve(self, claim: NotifyClaim, error: str | None) -> None:
        handed = None
        while True:
            event = self.do("events.record_and_claim_next", claim, LEASE, handed)
            handed = None
            if event is not None:
                handed = Handed(event, error, final=error is not None)
                self.told |= set() if error else {event.event_id}
            elif not self.do("events.enqueue_new", claim, DeliveryFilter()):
                break
        self.do("events.release", claim)

    def ending(self) -> Ending:
        g, a, e = generations.c, attempts.c, events.c
        with self.ledger.database.read() as connection:
            prompts = {row.id: row.prompt for row in connection.execute(select(g.id, g.prompt))}
            happened = connection.execute(select(e.id, e.type, e.generation_id)).all()
            tried = connection.execute(select(a.generation_id, a.state, a.error)).all()
            states = connection.execute(select(g.prompt, g.state)).all()
            kept = connection.execute(select(assets.c.state)).scalars().all()
            verdicts = connection.execute(select(callbacks.c.verdict)).scalars().all()
        assert self.ledger.generations.counts() == Counter(row.state for row in states)
        sent = [row for row in tried if "not_sent" not in (row.error or "")]
        return Ending(
            generations=Counter((row.prompt, row.state) for row in states),
            attempts=Counter((prompts[row.generation_id], row.state) for row in sent),
            assets=Counter(kept),
            # Read a second time, it says nothing new.
            callbacks=Counter("applied" if verdict == "ignored" else str(verdict) for verdict in verdicts),
            # A repair that nobody could note is no second repair.
            events=Counter((row.type, prompts.get(row.generation_id)) for row in happened if row.type != REPAIRED),
            money={state: amount for state, amount in totals(self.ledger).items() if state != "released"},
            posts=self.posts,
            untold=frozenset({row.id for row in happened} - self.told),
            due=frozenset(self.ledger.maintenance.due()),
        )


REPAIRED = "asset.repaired"


def a_batch_goes_its_way(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    process.try_once("maintenance.beat", "quick@host", 4711)
    fox = new("fox", key="a", follow_up=("upscale1",), provider="kie", providers=(PROVIDER,))
    made = process.repeat("generations.create", [fox, new("owl", key="b")], "animals")
    # The clock's next pass does it again.
    elsewhere = ProviderMove(generation_id=made[0].id, left="kie", to=PROVIDER, providers=(), why="out of credit")
    process.repeat("dispatch.move", [elsewhere])
    rows = FileBatch(name="sheet", source="sheet.csv", source_sha256="s")
    process.command("generations.write_rows", rows, [new("crow", dedupe="batch:sheet:c", row_number=1, row_sha256="c")])
    sent = process.submit(in_vain=True)
    process.accept(*sent.values())
    replies = {claim.attempt_id: Outcome(status=Status.SUCCEEDED) for claim in sent.values()}
    process.repeat("dispatch.record_answered", replies)
    process.repeat("callbacks.store", [delivery(sent["fox"].attempt_id)])
    found = process.come_again("callbacks.claim", 9, LEASE)
    process.try_once("callbacks.postpone", [one.id for one in found], timedelta(seconds=30))
    process.a_lease_later()
    found = process.come_again("callbacks.claim", 9, LEASE)
    process.try_once("callbacks.record_failures", {one.id: "KeyError: 'url'" for one in found})
    process.a_lease_later()
    process.ingest(lambda _: success(sent["fox"]))
    # The callback of the other one was lost.
    process.poll()
    process.repeat("assets.note_risks", timedelta(hours=48))
    process.archive()
    process.make_thumbnails()
    process.refuse_follow_ups()
    process.follow_up()
    process.send_all(success)
    process.archive()
    process.describe()
    process.notify()


def people_decide(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    prompts = ("cancelled", "failed", "lost", "expired", "blocked")
    with process.ledger.database.write() as connection:
        long_ago = process.clock.now - timedelta(hours=1)
        left = {"id": "batch_left", "name": "left", "created_at": long_ago}
        connection.execute(batches.insert().values(left | {"unfinished": "request", "unfinished_at": long_ago}))
    process.repeat("generations.remove_abandoned")
    made = process.repeat("generations.create", [new(prompt, key=prompt) for prompt in prompts])
    ids = {one.prompt: one.id for one in made}
    process.command("generations.cancel", [ids["cancelled"]])
    sent = process.submit()
    process.accept(sent["failed"], sent["expired"])
    blocked = AccountBlocked("the balance is empty", code="used_up")
    process.repeat("submissions.record", [Submitted(sent["blocked"].attempt_id, blocked)], POLL_AFTER)
    process.command("dispatch.pause_account", PROVIDER, "default", PLENTY, "somebody")
    process.command("dispatch.resume_account", PROVIDER)
    process.repeat("generations.apply_outcomes", [failure(sent["failed"]), success(sent["expired"])])
    process.command("generations.retry", [ids["failed"]])
    aside = Refused(3, "ab" * 32, None, "no picture")
    process.archive(lambda claim: Archived(claim, (Lost(0, "404", refused=aside),), described=False))
    process.command("assets.accept", ids["expired"], [0], "somebody")
    process.try_once("assets.retry_mended")
    process.archive()
    # Its worker has died.
    process.clock.advance(LEASE.total_seconds() + 1)
    process.repeat("submissions.mark_lost_unconfirmed")
    process.command("submissions.poll_now", [ids["lost"]])
    process.command("submissions.resolve", [ids["lost"]], Decision.RESUBMIT, SOMEBODY)
    again = process.submit()
    process.accept(*again.values())
    process.repeat("generations.apply_outcomes", [success(claim) for claim in again.values()])
    process.archive()
    process.look_in_vain(["task-of-somebody"])
    process.repeat("callbacks.store", [delivery(name * 32, name.encode(), name) for name in "ab"])
    process.repeat("callbacks.try_store")
    unreadable = CallbackUnreadable("what?")
    process.ingest(lambda one: News(attempt_id=one.attempt_id, outcome=unreadable, cause="callback"))
    process.command("callbacks.replay")
    process.ingest(lambda one: News(attempt_id=one.attempt_id, outcome=unreadable, cause="callback"))
    process.command("events.dismiss", [process.ledger.callbacks.dead()[0].id], [], SOMEBODY)
    while not (dead := process.ledger.events.dead(9)):
        process.notify(error="410")
    process.command("events.replay", dead[0].event_id, SHOP)
    process.command("events.resend", SHOP, [dead[0].event_id], DeliveryFilter())
    process.notify()


def a_ledger_is_restored(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    marker: Marker = process.repeat("restore.verify_marker", None)
    process.clock.advance(ASLEEP.total_seconds() + 1)
    process.repeat("restore.marker_unreachable")
    process.repeat("restore.verify_marker", marker)
    newer = replace(marker, number=marker.number + 9)
    process.repeat("restore.verify_marker", newer)
    process.command("restore.resume", process.repeat("restore.next_marker", newer), "somebody")
    orphan = Orphan(
        task_id="task-of-before", request=new("rescued").request, created_at=None, attempt_id=None, marked=True
    )
    process.repeat("generations.import_tasks", PROVIDER, [orphan])
    process.command("budgets.price_now", NO_CAP, NOON.date())
    with process.ledger.database.write() as connection:
        # A version that knew no budgets of labels has settled something.
        amounts = {"reserved": 5, "possible": 0, "spent": 0, "late": 0}
        connection.execute(label_budgets.insert(), [{"name": "client", "value": "acme", **amounts}])
    process.repeat("budgets.recount_labels")
    process.poll()
    process.archive()
    (rescued,) = process.ledger.generations.page()
    (asset,) = process.ledger.generations.assets_of([rescued.id])[rescued.id]
    process.try_once("assets.note_repair", asset, "changed")
    process.notify()


def what_was_withdrawn_or_is_old_goes(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    process.try_once("maintenance.beat", "quick@host", 4711)
    shop = NotifyAddress("https://shop.test/hooks?order=1")
    process.repeat("generations.create", [new("fox", key="a", notify=shop)])
    sent = process.submit()
    process.accept(*sent.values())
    process.repeat("callbacks.store", [delivery(sent["fox"].attempt_id, digest=name) for name in "ab"])
    process.ingest(lambda _: success(sent["fox"]))
    process.archive()
    process.notify()
    (fox,) = process.ledger.generations.page()
    process.command("generations.delete", [fox.id], SOMEBODY)
    (asset,) = process.ledger.generations.assets_of([fox.id])[fox.id]
    process.repeat("generations.record_objects_deleted", [asset.id])
    process.notify()
    process.clock.advance(days=40)
    before = process.clock() - timedelta(days=30)
    process.try_once("maintenance.forget", ["quick@host"])
    process.command("events.remove_subscriber", shop.subscriber)
    for kind in ("callbacks", "links", "events", "notify_addresses", "heartbeats", "actions"):
        process.repeat(f"maintenance.prune_{kind}", before)
    process.repeat("maintenance.note_pruned", before)
    process.try_once("maintenance.report", f"receiver.{NO_PID}@host", NO_PID, {TallyKey(Tally.ANSWERS, "", "200"): 1})
    process.try_once("maintenance.forget_predecessors", "receiver.4712@host")
    process.repeat("maintenance.fold_counts")
    process.repeat("maintenance.fold_tallies")


def files_are_handed_in(process: Process) -> None:
    """An image of a user is used, and goes when nothing uses it any more."""
    file = InputFile(sha256="a" * 64, bytes=4, content_type="image/png", extension="png")
    process.repeat("inputs.record", [file], "inputs")
    process.repeat("generations.create", [new("fox", key="a", inputs=(file.sha256,))])
    process.clock.advance(days=40)
    process.command("generations.cancel", [one.id for one in process.ledger.generations.page()])
    process.clock.advance(days=40)
    process.repeat("inputs.prune", process.clock() - timedelta(days=30))


def a_batch_is_steered(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    wanted = [new("fox", key="a"), new("owl", key="b", follow_up=("upscale1",))]
    process.repeat("generations.create", wanted, "animals")
    batch_id = str(process.ledger.generations.newest_batch("animals"))
    process.command("batches.limit", batch_id, start_at=process.clock() + timedelta(hours=1), max_in_flight=1)
    process.clock.advance(hours=1)
    process.repeat("batches.start_due")
    process.repeat("dispatch.run", PROVIDER, PLENTY, NO_CAP)
    process.command("batches.pause", batch_id)
    process.command("batches.reprioritize", batch_id, 3)
    process.command("batches.resume", batch_id)
    process.command("batches.limit", batch_id, max_in_flight=None)
    process.send_all(success)
    process.command("batches.drop_follow_ups", batch_id)
    process.archive()
    process.describe()
    process.notify()


def subscribers_come_and_go(process: Process) -> None:
    new_one = NewSubscriber(
        name=SHOP, kind="webhook", address="https://shop.test/", secrets=["whsec_old"], created_by="me"
    )
    process.command("events.add_subscriber", new_one)
    process.repeat("events.register_subscribers", [])
    process.repeat("generations.create", [new("fox", key="a")])
    process.send_all(success)
    process.command("events.change_secrets", SHOP, ["whsec_new", "whsec_old"])
    process.archive()
    # The shop hears it: nobody is sent that they were disabled themselves.
    process.command("events.add_subscriber", replace(new_one, name="studio"))
    process.command("events.disable_subscriber", "studio", "somebody moves it")
    process.command("events.remove_subscriber", "studio")
    process.notify()
    process.command("events.enable_subscriber", SHOP)
    process.command("events.remove_subscriber", SHOP)


def a_program_uses_the_api(process: Process) -> None:
    wanted = NewToken(name="studio", sha256="a" * 64, hint="dk_live_Ab3d", scopes=["*"], created_by="somebody")
    process.command("access.create_token", wanted)
    (token,) = process.ledger.access.tokens()
    process.try_once("access.note_token_use", token.id)
    # Nothing is carried out that could not be written down; it is asked for again.
    action_id = process.repeat("access.record_action", NewAction(door="api", actor="studio", action="POST /v1/x"))
    process.try_once("access.record_answer", action_id, 201, "gen_1")
    process.command("access.revoke_token", "studio")


def somebody_uses_the_console(process: Process) -> None:
    process.command("access.create_user", NewUser(name="anna", role=Role.VIEWER, password_hash="old", created_by="me"))
    (user,) = process.ledger.access.users()
    process.command("access.change_role", "anna", Role.OPERATOR)
    process.try_once("access.keep_rehashed", user.id, "old", "new")
    process.command("access.change_password", "anna", "newest")
    process.repeat("access.begin_session", NewSession(sha256="a" * 64, user_id=user.id, password_hash="newest"))
    process.clock.advance(minutes=2)
    process.try_once("access.note_session_use", "a" * 64)
    process.repeat("access.end_session", "a" * 64)
    process.command("access.remove_user", "anna")
    process.clock.advance(days=40)
    process.repeat("maintenance.prune_sessions", process.clock() - timedelta(days=30))


def a_program_asks(process: Process) -> None:
    """It repeats what was not answered, with the same idempotency key."""
    process.repeat("events.register_subscribers", [SHOP])
    asked = Once(owner="tok_1", key="order-7", request_sha256="a" * 64)
    wanted = [new("fox", dedupe="api:tok_1/order-7/1"), new("owl", dedupe="api:tok_1/order-7/2")]
    for _ in range(2):
        created = process.repeat("generations.create_once", wanted, "animals", asked)
    process.send_all(failure)
    again = Once(owner="tok_1", key="again", request_sha256="b" * 64)
    for _ in range(2):
        process.repeat("generations.retry_once", created.generations[0].id, again)
    process.command("generations.retry", [created.generations[1].id])
    process.send_all(success)
    process.archive()
    process.describe()
    process.notify()
    long = Once(owner="tok_1", key="sheet", request_sha256="c" * 64)
    process.come_again("access.claim_request", long, LEASE)
    process.try_once("access.renew_request", long, LEASE)
    process.repeat("access.give_up_request", long)
    process.come_again("access.claim_request", long, LEASE)
    process.repeat("access.keep_request", long, {"batches": ["batch_1"]})
    refused = Once(owner="tok_1", key="refused", request_sha256="d" * 64)
    process.come_again("access.claim_request", refused, LEASE)
    process.repeat("access.forget_request", refused)
    process.clock.advance(days=40)
    process.repeat("maintenance.prune_idempotency_keys", process.clock() - timedelta(days=30))


FOLLOWED = Recipe(
    name="followed",
    steps=(
        Step(id="early", do="upscale", after=After.SUCCEEDED),
        Step(id="cut", do="split"),
        Step(id="best", do="upscale", pick=Pick(chooser=Chooser.PERSON), timeout=timedelta(days=1)),
        Step(id="choice", do="video", pick=Pick(chooser=Chooser.TASK, task="t", queue="q"), timeout=timedelta(days=1)),
    ),
    max_depth=1,
    max_fan_out=4,
)


def a_recipe_is_followed(process: Process) -> None:
    process.repeat("events.register_subscribers", [SHOP])
    process.repeat("generations.create", [new("fox", key="a", recipe=FOLLOWED)], "followed")
    kept = process.ledger.generations
    process.send_all(success)

    def child(parent: Generation, step: str) -> NewGeneration:
        # Without the recipe: nothing follows it.
        dedupe = dedupe_of_step(FOLLOWED.sha256, step, parent.id, None)
        return new(f"fox, {step}", dedupe=dedupe, parent_id=parent.id, batch_id=parent.batch_id, step=step)

    def follow() -> None:
        while due := kept.due_steps(9):
            for parent, moment in ((one.generation, one.moment) for one in due):
                steps = [step for step in FOLLOWED.steps if step.after is moment]
                children = [child(parent, step.id) for step in steps if step.timeout is None]
                asked = [
                    NewApproval(
                        step=step.id, images=(1, 2), timeout=step.timeout, task=step.pick.task or None, queue="q"
                    )
                    for step in steps
                    if step.timeout is not None
                ]
                process.try_once("generations.create_follow_ups", parent, children, [], asked, moment=moment, most=4)

    follow()
    process.archive()
    follow()
    while unsent := process.ledger.approvals.unsent(9):
        for one in unsent:
            process.try_once("approvals.note_sent", one.id)
    for one in process.ledger.approvals.pending(9):
        (parent,) = kept.get([one.generation_id])
        children = [child(parent, one.step)]
        facts = {"parent": parent, "picked": [2], "by": "ada", "why": "", "children": children}
        process.command("approvals.decide", one, ApprovalState.DECIDED, **facts)
        # Whoever takes it back and hears nothing looks at it again.
        process.command("approvals.reopen", process.ledger.approvals.get(one.id), "ada")
        process.command("approvals.decide", one, ApprovalState.DECIDED, **facts)
    process.send_all(success)
    process.archive()
    (first, *_) = [made.id for made in kept.page(state=State.ARCHIVED)]
    process.command("marks.set", first, 0, Mark.PICKED, "ada")
    process.repeat("marks.undo", "ada", Once(owner="console:ada", key="undo", request_sha256="e" * 64))
    process.command("marks.clear", first, 0)
    process.describe()
    process.notify()


def a_test_goes_its_way(process: Process) -> None:
    """It is sent once, like all that is paid for, and costs nothing."""
    process.repeat("events.register_subscribers", [SHOP])
    process.repeat("generations.create", [new("fox", key="a", is_test=True), new("owl", key="a")])
    process.send_all(success, in_vain=True)
    process.archive()
    process.notify()


STORIES = (
    a_test_goes_its_way,
    a_recipe_is_followed,
    a_program_uses_the_api,
    subscribers_come_and_go,
    a_batch_goes_its_way,
    people_decide,
    a_ledger_is_restored,
    what_was_withdrawn_or_is_old_goes,
    files_are_handed_in,
    a_batch_is_steered,
    a_program_asks,
    somebody_uses_the_console,
)
