"""`darkroom retry`, `cancel` and `resume`: what only a person decides."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import control, views
from tasks.usecases.control import Decisions, ResumeRequest, RetryRequest
from tasks.usecases.selection import Selection
from worker.secrets import title_of


@click.command()
@click.argument("generation_ids", nargs=-1, metavar="[GENERATION]...")
@click.option("--failed", is_flag=True, help="All of --batch that failed or expired.")
@click.option("--batch", metavar="BATCH", help="A batch, by id or name; with --failed.")
@click.option("--may-pay-twice", is_flag=True, help="Also those that their provider may still deliver.")
@json_option
@click.pass_context
def retry(
    ctx: click.Context, *, generation_ids: tuple[str, ...], failed: bool, batch: str | None, may_pay_twice: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Try again what failed or expired.

    What failed is submitted and paid for again; of what expired only the links are asked for again, which is free. What
    waits for its next try is tried now. The exit code is 1 if one of the named generations cannot be tried again.

    What failed because the time was over may still be delivered, and is paid for then. It is left alone until its
    provider was asked for it again, 10 and 60 minutes after it failed; unless you say --may-pay-twice.
    """
    if bool(generation_ids) == failed or failed != (batch is not None):
        raise click.UsageError("give either GENERATIONs, or --failed with --batch")
    with open_ledger() as here:
        decisions = control.retry(here, RetryRequest(Selection(generation_ids, batch), may_pay_twice))
    _print(decisions, as_json=as_json)
    if decisions.wakes:
        ring(*decisions.wakes)
    ctx.exit(0 if decisions.is_all_done else 1)


@click.command()
@click.argument("generation_ids", nargs=-1, metavar="[GENERATION]...")
@click.option("--batch", metavar="BATCH", help="All of this batch, by id or name, that still wait.")
@json_option
@click.pass_context
def cancel(ctx: click.Context, generation_ids: tuple[str, ...], batch: str | None, as_json: bool) -> None:
    """Take back what was not submitted yet.

    The exit code is 1 if one of the named generations cannot be taken back.
    """
    if bool(generation_ids) == (batch is not None):
        raise click.UsageError("give either GENERATIONs or --batch")
    with open_ledger() as here:
        decisions = control.cancel(here, Selection(generation_ids, batch))
    _print(decisions, as_json=as_json)
    ctx.exit(0 if decisions.is_all_done else 1)


@click.command()
@click.argument("provider")
@click.option("--account", metavar="NAME", help="Only this account; else all of the provider.")
@json_option
def resume(provider: str, account: str | None, as_json: bool) -> None:
    """End the pause of a provider.

    And what else slows down its accounts: a shrunken rate, an open circuit breaker, a token bucket that was filled
    while the clock was ahead.
    """
    with open_ledger() as here:
        resumed = control.resume(here, ResumeRequest(provider, account))
    if as_json:
        print_json(views.of_resumed(provider, resumed))
    elif not resumed.accounts:
        click.echo(f"{title_of(provider, account) if account else provider} was not paused")
    else:
        for name, until in resumed.accounts.items():
            held = (
                f": a clock that was ahead would have stopped it until {until.astimezone():%Y-%m-%d %H:%M}"
                if until
                else ""
            )
            click.echo(f"{title_of(provider, name)} goes on{held}")
    if resumed.wakes:
        ring(*resumed.wakes)


def _print(decisions: Decisions, *, as_json: bool) -> None:
    for one in decisions.generations:
        if as_json:
            print_json(views.of_decided(one))
        else:
            click.echo(f"{one.generation_id} {'' if one.is_done else 'is '}{one.message}")
    if not decisions.generations:
        note("there is none to which this applies")
