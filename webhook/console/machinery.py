"""The parts of Operate about the machinery: accounts, workers, restore guard, subscribers, spend."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from flask import Blueprint, Response, render_template, request

from tasks.shown import shown
from tasks.usecases import accounts, control, restore, subscribers, workers
from tasks.usecases import spend as spending
from tasks.usecases.control import ResumeRequest
from tasks.usecases.events.resend import ResendRequest, resend
from tasks.usecases.person import Person
from tasks.usecases.restore import ReconcileRequest
from tasks.usecases.spend import SpendRequest, Spent, read_dimensions
from tasks.usecases.views import of_shown_subscriber
from webhook.console.acting import changes_nothing
from webhook.console.desk import Desk
from webhook.console.forms import decider
from webhook.console.naming import account_title
from webhook.console.once import once
from webhook.console.operate import require_typed
from worker.errors import RequestInvalid
from worker.steps import Step

_DELIVERIES = 20
_DAYS = (7, 30, 90)
_HOURS = (1, 6, 24, 72)
#: maximum number of bars in a chart
_BARS = 90


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the parts of `/operate` about the machinery."""
    views = _Views(desk)
    for name, rule, method, view in (
        ("accounts", "/accounts", "GET", views.accounts),
        ("change_account", "/accounts/<provider>/<account>", "POST", views.change_account),
        ("workers", "/workers", "GET", views.workers),
        ("restore", "/restore", "GET", views.restore),
        ("compare", "/restore", "POST", views.compare),
        ("resume_submissions", "/restore/resume", "POST", views.resume),
        ("subscribers", "/subscribers", "GET", views.subscribers),
        ("subscriber", "/subscribers/<path:name>", "GET", views.subscriber),
        ("change_subscriber", "/subscribers/<path:name>", "POST", views.change_subscriber),
        ("spend", "/spend", "GET", views.spend),
    ):
        pages.add_url_rule(f"/operate{rule}", name, view, methods=[method], provide_automatic_options=False)


class _Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._here = desk.here

    def accounts(self) -> str:
        found = accounts.list_accounts(self._here)
        asked = request.args.get("credit", "")
        credit = {}
        for one in found:
            if f"{one.provider}/{one.facts.account}" == asked:
                credit[asked] = accounts.credit_of(self._here, one.provider, one.facts.account)
        return render_template("console/operate_accounts.html", part="accounts", accounts=found, credit=credit)

    def change_account(self, provider: str, account: str) -> Response:
        action, who, title = request.form.get("action"), decider(), account_title((provider, account))

        def work() -> tuple[str, str]:
            if action == "pause":
                until = accounts.pause(self._here, provider, account, who)
                return "/operate/accounts", f"{title} is paused until {until:%H:%M} UTC."
            if action != "resume":
                raise RequestInvalid("choose whether to pause or to resume")
            done = control.resume(self._here, ResumeRequest(provider, account))
            self._desk.shared.ring(*done.wakes)
            return "/operate/accounts", f"{title} {'continues' if done.accounts else 'was not paused'}."

        return once(self._desk, work)

    def workers(self) -> str:
        return render_template(
            "console/operate_workers.html", part="workers", workers=workers.list_workers(self._here),
            work=workers.work_by_step(self._here), most=workers.MOST_COUNTED,
        )  # fmt: skip

    def restore(self) -> str:
        return render_template("console/operate_restore.html", part="restore", gate=restore.guard_state(self._here))

    @changes_nothing
    def compare(self) -> str:
        """Query the bucket and the providers; change nothing."""
        report = restore.reconcile(self._here, ReconcileRequest())
        return render_template("console/operate_restore.html", part="restore", gate=report.gate, report=report)

    def resume(self) -> Response:
        who = decider()

        def work() -> tuple[str, str]:
            require_typed("resume")
            report = restore.reconcile(self._here, ReconcileRequest(confirmed_by=who.name))
            self._desk.shared.ring(*report.wakes)
            told = "Submissions were not paused."
            if report.opened:
                told = f"Submissions continue; {len(report.adopted):,} tasks were imported."
            elif report.obstacle:
                told = f"Submissions stay paused: {report.obstacle}."
            return "/operate/restore", told

        return once(self._desk, work)

    def subscribers(self) -> str:
        found = subscribers.list_subscribers(self._here)
        return render_template("console/operate_subscribers.html", part="subscribers", found=found)

    def subscriber(self, name: str) -> str:
        found, deliveries = subscribers.show_subscriber(self._here, name, _DELIVERIES)
        return render_template(
            "console/operate_subscriber.html", part="subscribers", one=found, types=_types(), hours=_HOURS,
            deliveries=of_shown_subscriber(found, deliveries)["deliveries"], most=_DELIVERIES,
        )  # fmt: skip

    def change_subscriber(self, name: str) -> Response:
        form, who = request.form, decider(request.form.get("why", ""))

        def work() -> tuple[str, str]:
            found, _ = subscribers.show_subscriber(self._here, name, 1)
            return f"/operate/subscribers/{found.name}", self._change(found.name, form, who)

        return once(self._desk, work)

    def _change(self, name: str, form: Mapping[str, str], who: Person) -> str:
        match form.get("action"):
            case "enable":
                subscribers.enable_subscriber(self._here, name)
                self._desk.shared.ring(Step.NOTIFY)
                return "Enabled: its waiting events are delivered now, in order."
            case "disable":
                subscribers.disable_subscriber(self._here, name, who)
                return "Disabled: its events wait for it."
            case "test":
                kind = form.get("type", "")
                if kind not in _types():
                    raise RequestInvalid(f"there is no event type {kind!r}")
                tested = subscribers.try_subscriber(self._here, name, kind)
                if tested.error:
                    return f"The example was not accepted: {tested.error}"
                status = f" with HTTP {tested.status}" if tested.status else ""
                return f"The example was accepted{status} after {tested.seconds:g} s."
            case "resend" if form.get("event"):
                asked = ResendRequest(ids=(form["event"],), subscriber=name)
            case "resend" if form.get("hours") in set(map(str, _HOURS)):
                asked = ResendRequest(since=timedelta(hours=int(form["hours"])), subscriber=name)
            case _:
                raise RequestInvalid("choose what to do with the subscriber")
        done = resend(self._here, asked)
        self._desk.shared.ring(*done.wakes)
        return f"{sum(one.resent for one in done.by_subscriber.values()):,} are delivered again."

    def spend(self) -> str:
        by, days = request.args.get("by", "day"), request.args.get("days", "30")
        since = timedelta(days=int(days) if days in set(map(str, _DAYS)) else 30)
        problem = None
        try:
            dimensions = read_dimensions(by)[:1]
        except RequestInvalid as error:
            problem, dimensions = str(error), read_dimensions("day")
        report = spending.spend(self._here, SpendRequest(by=dimensions, since=since))
        return render_template(
            "console/operate_spend.html", part="spend", report=report, by=shown(by), grouped=str(dimensions[0]),
            days=since.days, all_days=_DAYS, problem=problem, bars=_bars(report.rows),
        )  # fmt: skip


def _types() -> Sequence[str]:
    # Loads the models of events, which nothing else on these pages needs.
    from tasks.usecases.events.published import EVENTS  # noqa: PLC0415

    return list(EVENTS)


def _bars(rows: Sequence[Spent]) -> Sequence[Mapping[str, object]]:
    """Return bar heights out of 100 for each row of a chart: what was paid, and what may still be."""
    shown = rows[-_BARS:]
    highest = max((row.known + row.possible + row.reserved for row in shown), default=0) or 1
    return [
        {
            "name": row.name,
            "known": 100 * row.known / highest,
            "open": 100 * (row.possible + row.reserved) / highest,
        }
        for row in shown
    ]
