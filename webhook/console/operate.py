"""Operate: what needs a person, and what was paid for but is not stored yet, each with its remedy."""

from datetime import timedelta

from flask import Blueprint, Response, render_template, request

from tasks.usecases import accept, at_risk, control, dead_letters, resolve
from tasks.usecases.accept import AcceptRequest, AssetChoice
from tasks.usecases.attention import needs
from tasks.usecases.control import RetryRequest
from tasks.usecases.dead_letters import DISMISSED, DismissRequest, Letter, LetterKind, LetterSelection, Replayed
from tasks.usecases.import_tasks import FoundTasks, ImportRequest, import_tasks
from tasks.usecases.providers import describe_providers
from tasks.usecases.resolve import Decision, ResolveRequest, TaskRequest
from tasks.usecases.selection import Selection
from webhook.console.acting import changes_nothing
from webhook.console.desk import Desk
from webhook.console.forms import decider, whole
from webhook.console.once import once
from worker.errors import NotPossible, RequestInvalid

#: rows of a list, and how many "more" adds
_FEW = 50
_MOST_SHOWN = 5000
_DECISIONS = {"charged": Decision.CHARGED, "not_charged": Decision.NOT_CHARGED, "resubmit": Decision.RESUBMIT}
_HOURS = (1, 6, 24, 72, 168)


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add `/operate` and its parts about generations."""
    views = _Views(desk)
    for name, rule, method, view in (
        ("operate", "", "GET", views.summary),
        ("unconfirmed", "/unconfirmed", "GET", views.unconfirmed),
        ("ask_now", "/unconfirmed/ask", "POST", views.ask_now),
        ("resolve", "/unconfirmed/<generation>", "POST", views.resolve),
        ("dead", "/dead", "GET", views.dead),
        ("dead_again", "/dead", "POST", views.change_dead),
        ("raw_callback", "/dead/callbacks/<int:callback>", "GET", views.raw_callback),
        ("at_risk", "/at-risk", "GET", views.at_risk),
        ("risk_again", "/at-risk/<generation>", "POST", views.try_again),
        ("refused", "/at-risk/<generation>/<int:index>", "GET", views.refused),
        ("accept", "/at-risk/<generation>/<int:index>", "POST", views.accept),
        ("look_for_tasks", "/at-risk/look", "POST", views.look_for_tasks),
        ("rescue", "/at-risk/rescue", "POST", views.rescue),
    ):
        pages.add_url_rule(f"/operate{rule}", name, view, methods=[method], provide_automatic_options=False)


class _Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._here = desk.here

    def summary(self) -> str:
        return render_template("console/operate.html", part="", needs=needs(self._here))

    def unconfirmed(self) -> str:
        most = how_many()
        found = resolve.list_unconfirmed(self._here, limit=most + 1)
        prices = {one.unclear.attempt_id: resolve.price_at_stake(self._here, one) for one in found}
        return render_template(
            "console/operate_unconfirmed.html", part="unconfirmed", found=found[:most], prices=prices,
            now=self._here.clock(), more=len(found) > most and most + _FEW,
        )  # fmt: skip

    def ask_now(self) -> Response:
        def work() -> tuple[str, str]:
            self._desk.shared.ring(*resolve.ask_now(self._here, request.form.getlist("generation")))
            return "/operate/unconfirmed", "The provider is being asked now. Reload this page in a moment."

        return once(self._desk, work)

    def resolve(self, generation: str) -> Response:
        form, who = request.form, decider(request.form.get("why", ""))
        decision, task_id = form.get("decision", ""), form.get("task_id", "").strip()
        attempt = form.get("attempt", "")

        def work() -> tuple[str, str]:
            if decision == "task":
                if not task_id:
                    raise RequestInvalid("enter the id of the task at the provider")
                done = resolve.resolve_to_task(self._here, TaskRequest(generation, task_id, who, attempt))
            elif decision not in _DECISIONS:
                raise RequestInvalid("choose what happened to it")
            else:
                if decision != "charged":
                    require_typed("not submitted" if decision == "not_charged" else "submit again")
                selection = Selection(names=(generation,))
                done = resolve.resolve(self._here, ResolveRequest(selection, _DECISIONS[decision], who, attempt))
            self._desk.shared.ring(*done.wakes)
            return "/operate/unconfirmed", f"Recorded for {generation}: {done.message}."

        return once(self._desk, work)

    def dead(self) -> str:
        kind, most = _kind(request.args.get("kind", "")), how_many()
        found = dead_letters.list_dead(self._here, kind, most=most + 1)
        by_kind: dict[LetterKind, list[Letter]] = {}
        for letter in found:
            by_kind.setdefault(letter.kind, []).append(letter)
        more = max(map(len, by_kind.values()), default=0) > most and most + _FEW
        shown = {one: letters[:most] for one, letters in by_kind.items()}
        return render_template(
            "console/operate_dead.html", part="dead", letters=shown, kind=kind, kinds=list(LetterKind),
            dismissed=DISMISSED, more=more,
        )  # fmt: skip

    def change_dead(self) -> Response:
        ids, action, who = tuple(request.form.getlist("letter")), request.form.get("action"), decider(
            request.form.get("why", "")
        )  # fmt: skip

        def work() -> tuple[str, str]:
            if not ids:
                raise RequestInvalid("choose at least one dead letter")
            chosen = LetterSelection(ids)
            if action == "dismiss":
                gone = dead_letters.dismiss(self._here, DismissRequest(chosen, who))
                return "/operate/dead", f"{len(gone):,} discarded."
            if action != "replay":
                raise RequestInvalid("choose whether to replay or to discard")
            left: list[Replayed] = []
            done = dead_letters.replay(self._here, chosen, lambda one: None if one.is_done else left.append(one))
            self._desk.shared.ring(*done.wakes)
            told = f"{done.done:,} replayed."
            if left:
                told += f" {len(left):,} not replayed: {left[0].letter_id} {left[0].message}."
            return "/operate/dead", told

        return once(self._desk, work)

    def raw_callback(self, callback: int) -> str:
        found = dead_letters.raw_callback(self._here, callback)
        return render_template("console/operate_callback.html", part="dead", raw=found)

    def at_risk(self) -> str:
        return self._at_risk()

    def _at_risk(self, looked: ImportRequest | None = None) -> str:
        found, most = at_risk.at_risk(self._here), how_many()
        tasks: list[FoundTasks] = []
        imported = None if looked is None else import_tasks(self._here, looked, tasks.append)
        return render_template(
            "console/operate_at_risk.html", part="at-risk", found=found, most=most,
            more=max(len(found.assets), len(found.unread)) > most and most + _FEW,
            providers=[one for one in describe_providers(self._here) if one.missing is None], hours=_HOURS,
            looked=looked, imported=imported, tasks=[one for page in tasks for one in page.tasks],
        )  # fmt: skip

    def try_again(self, generation: str) -> Response:
        def work() -> tuple[str, str]:
            # The page may be stale: a generation that failed since would be paid for again.
            done = control.retry(self._here, RetryRequest(selection=Selection(names=(generation,)), may_submit=False))
            (decided,) = done.generations
            if not decided.is_done:
                raise NotPossible(f"{generation} is {decided.state}, and has no result that can be fetched now")
            self._desk.shared.ring(*done.wakes)
            return "/operate/at-risk", f"Requested for {generation}: {decided.message}."

        return once(self._desk, work)

    def refused(self, generation: str, index: int) -> str:
        (kept,) = accept.look_at_refused(self._here, (AssetChoice(generation, index),))
        return render_template("console/operate_refused.html", part="at-risk", kept=kept, generation=generation)

    def accept(self, generation: str, index: int) -> Response:
        who = decider(request.form.get("why", ""))

        def work() -> tuple[str, str]:
            done: list[int] = []
            choice = AssetChoice(generation, index)
            accept.accept(self._here, AcceptRequest((choice,), who), lambda _, kept: done.append(len(kept)))
            self._desk.shared.ring(*accept.WAKES)
            return "/operate/at-risk", "It is archived as it is." if any(done) else "No refused file is kept for it."

        return once(self._desk, work)

    @changes_nothing
    def look_for_tasks(self) -> str:
        """Read the provider's list; change nothing."""
        return self._at_risk(self._import_request(dry_run=True))

    def rescue(self) -> Response:
        asked = self._import_request(dry_run=False)

        def work() -> tuple[str, str]:
            def tell(found: FoundTasks) -> None:
                self._desk.shared.ring(*found.wakes)

            done = import_tasks(self._here, asked, tell)
            told = f"{done.taken:,} imported, {done.known:,} already known, {done.left:,} left alone."
            if done.unread:
                told += f" Some lists could not be read: {'; '.join(done.unread)}."
            return "/operate/at-risk", told

        return once(self._desk, work)

    def _import_request(self, *, dry_run: bool) -> ImportRequest:
        hours = request.form.get("hours", "")
        if hours not in map(str, _HOURS):
            raise RequestInvalid("choose how far back to look")
        return ImportRequest(request.form.get("provider", ""), timedelta(hours=int(hours)), dry_run)


def how_many() -> int:
    """Return how many rows of a list to show."""
    return max(_FEW, min(whole(request.args.get("most", ""), 6) or 0, _MOST_SHOWN))


def require_typed(words: str) -> None:
    """Raise RequestInvalid unless these words were typed to confirm."""
    if request.form.get("typed", "").strip().lower() != words:
        raise RequestInvalid(f"type the words `{words}` to confirm: nothing was changed")


def _kind(text: str) -> LetterKind | None:
    return LetterKind(text) if text in set(LetterKind) else None
