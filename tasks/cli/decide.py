"""`darkroom retry`, `cancel` and `resume`: decisions that a person makes."""

from collections import Counter

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.only import only_option
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.selecting import FEW, key_option, provider_option, selecting, verbose_option
from tasks.cli.ui.totals import totals
from tasks.cli.ui.wakeup import ring
from tasks.usecases import control, views
from tasks.usecases.control import Decisions, ResumeRequest, RetryRequest
from tasks.usecases.selection import Selection
from worker.failures import Category
from worker.generation import State
from worker.secrets import title_of

DONE = {State.CANCELLED: "cancelled", State.QUEUED: "queued again", State.SUCCEEDED: "to be fetched again"}


@click.command()
@click.argument("names", nargs=-1, metavar="[GENERATION]...")
@click.option(
    "--failed",
    is_flag=True,
    help="All failed or expired generations; narrow them with --batch, --provider, --key or --label, or give --all.",
)
@click.option("--batch", metavar="BATCH", help="With --failed: only in this batch, by name or id.")
@provider_option
@key_option
@label_filter
@only_option
@click.option("--all", "everything", is_flag=True, help="With --failed: in the whole ledger.")
@click.option("--may-pay-twice", is_flag=True, help="Include generations that the provider may still deliver.")
@verbose_option
@json_option
@click.pass_context
def retry(
    ctx: click.Context, *, names: tuple[str, ...], failed: bool, batch: str | None, provider: str | None,
    key: str | None, labels: dict[str, str], only: frozenset[Category], everything: bool, may_pay_twice: bool,
    verbose: bool, as_json: bool,
) -> None:  # fmt: skip
    """Retry failed and expired generations.

    Failed generations are submitted and paid for again. For expired ones, only new links are requested, which is free.
    A download that is waiting for its next retry is retried now.

    A generation that timed out may still be delivered, and charged. It is left alone until the provider has been polled
    again, 10 and 60 minutes after the timeout, unless you give --may-pay-twice.

    The exit code is 1 if any generation was left alone.
    """
    is_chosen = bool(batch or provider or key or labels or everything)
    if bool(names) == failed or (names and is_chosen):
        raise click.UsageError("give either GENERATIONs, or --failed with --batch, --provider, --key, --label or --all")
    with open_ledger() as here:
        if failed and not is_chosen:
            count = control.count_retriable(here)
            if not count:
                note("No failed or expired generations.")
                return
            raise click.UsageError(
                f"{count:,} generations failed or expired: choose with --batch, --provider, --key or --label, or give "
                "--all"
            )
        selection = Selection(
            names=names, batch=batch, provider=provider, key=key, labels=labels, everything=everything
        )
        decisions = control.retry(here, RetryRequest(selection=selection, may_pay_twice=may_pay_twice, only=only))
    _print(decisions, "queued again", "not retried", few=0 < len(names) <= FEW, lines=verbose, as_json=as_json)
    if decisions.wakes:
        ring(*decisions.wakes)
    ctx.exit(0 if decisions.is_all_done else 1)


@click.command()
@selecting
@verbose_option
@json_option
@click.pass_context
def cancel(ctx: click.Context, *, selection: Selection, verbose: bool, as_json: bool) -> None:
    """Cancel generations that are not submitted yet.

    Submitted generations are paid for, so they are left alone. The exit code is 1 if any of the named generations
    cannot be cancelled.
    """
    with open_ledger() as here:
        decisions = control.cancel(here, selection)
    _print(decisions, "cancelled", "not cancelled", few=0 < len(selection.names) <= FEW, lines=verbose, as_json=as_json)
    ctx.exit(0 if decisions.is_all_done else 1)


@click.command()
@click.argument("provider")
@click.option("--account", metavar="NAME", help="Only this account of the provider.")
@json_option
def resume(provider: str, account: str | None, as_json: bool) -> None:
    """Resume a paused provider.

    Use it after adding credit or correcting the key. It also closes an open circuit breaker and restores a rate limit
    that was reduced after too many requests.
    """
    with open_ledger() as here:
        resumed = control.resume(here, ResumeRequest(provider, account))
    if as_json:
        print_json(views.of_resumed(provider, resumed))
    elif not resumed.accounts:
        click.echo(f"{title_of(provider, account) if account else provider} was not paused")
    else:
        for name, until in resumed.accounts.items():
            # The end of this pause was set by a clock that was ahead.
            held = f"; a wrong clock had paused it until {until.astimezone():%Y-%m-%d %H:%M}" if until else ""
            click.echo(f"{title_of(provider, name)}: resumed{held}")
    if resumed.wakes:
        ring(*resumed.wakes)


def _print(decisions: Decisions, nothing: str, not_done: str, *, few: bool, lines: bool, as_json: bool) -> None:
    for one in decisions.generations:
        if as_json:
            print_json(views.of_decided(one))
        elif few or lines:
            click.echo(f"{one.generation_id} {'' if one.is_done else f'{not_done}: '}{one.message}")
    left = decisions.all_left
    if not decisions.generations and not left:
        note("No matching generations.")
    elif not as_json and not few:
        done = Counter(DONE[one.state] for one in decisions.generations if one.is_done)
        click.echo(totals(done or {nothing: 0}, left))
