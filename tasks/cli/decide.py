"""`darkroom retry`, `cancel` and `resume`: what only a person decides."""

from collections.abc import Callable, Mapping, Sequence

import click

from tasks.cli.ui.context import open_ledger, read_settings, ring
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases.scope import newest_batch
from worker.account_keys import title_of
from worker.errors import ConfigurationError
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.queries import Queries
from worker.providers import PROVIDERS, account_keys

PAGE = 1000

_SENT = "it was sent and is paid for; it cannot be taken back"
_KEPT: Mapping[State, str] = {
    State.SUBMITTING: "it is being sent at this moment; it cannot be taken back",
    State.SUBMITTED: _SENT,
    State.UNCONFIRMED: "it may have been sent and paid for; it cannot be taken back",
    State.SUCCEEDED: _SENT,
    State.ARCHIVED: "it is done; there is nothing to take back",
    State.EXPIRED: "it is over; there is nothing to take back",
    State.FAILED: "it is over; there is nothing to take back",
    State.DELETED: "it was deleted; there is nothing to take back",
}
_NOT_AGAIN: Mapping[State, str] = {
    State.UNCONFIRMED: "the provider may have taken it and charged for it; look there first, "
    "then say with `darkroom resolve` what you found out",
    State.FAILED: "it has failed just now; say it once more",
    State.ARCHIVED: "it succeeded; submit it anew if you want another one",
    State.CANCELLED: "it was cancelled; submit it anew",
    State.DELETED: "it was deleted, and nobody knows any more what was wished for",
}
_MAY_COME = (
    "its provider may still deliver it, which is paid for, and is asked for it at {at:%H:%M:%S}; "
    "--may-pay-twice submits it again now"
)
_STILL_GOING = "it is still going on; there is nothing to try again"


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
    with open_ledger() as ledger:
        states = [State.FAILED, State.EXPIRED]
        chosen = list(dict.fromkeys(generation_ids)) or _in_batch(ledger, str(batch), states)
        before = {one.id: one.state for one in ledger.queries.get(chosen)}
        after = ledger.deciding.retry(chosen, may_pay_twice=may_pay_twice)
        changed = {one: state for one, state in after.items() if state != before[one] and before[one] in states}
        changed |= {one: state for one, state in after.items() if state is State.SUCCEEDED}
        awaited = ledger.deciding.awaited([one for one in chosen if one not in changed])

    def told(generation_id: str) -> str:
        if generation_id in changed:
            again = changed[generation_id] is State.QUEUED
            if before[generation_id] is State.SUCCEEDED:
                return "succeeded: what is not stored yet is tried now"
            return "queued: it is submitted again" if again else "succeeded: its links are asked for again"
        if generation_id in awaited:
            return f"failed: {_MAY_COME.format(at=awaited[generation_id].astimezone())}"
        return f"{after[generation_id]}: {_NOT_AGAIN.get(after[generation_id], _STILL_GOING)}"

    exit_code = _report(after, changed, told, as_json=as_json)
    if changed:
        ring("dispatch", "archive")
    ctx.exit(exit_code)


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
    with open_ledger() as ledger:
        chosen = list(dict.fromkeys(generation_ids)) or _in_batch(ledger, str(batch), [State.QUEUED])
        after = ledger.deciding.cancel(chosen)
    cancelled = {one: state for one, state in after.items() if state is State.CANCELLED}

    def told(generation_id: str) -> str:
        state = after[generation_id]
        return "cancelled" if generation_id in cancelled else f"{state}: {_KEPT[state]}"

    ctx.exit(_report(after, cancelled, told, as_json=as_json))


@click.command()
@click.argument("provider")
@click.option("--account", metavar="NAME", help="Only this account; else all of the provider.")
@json_option
def resume(provider: str, account: str | None, as_json: bool) -> None:
    """End the pause of a provider.

    And what else slows down its accounts: a shrunken rate, an open circuit breaker, a token bucket that was filled
    while the clock was ahead.
    """
    if provider not in PROVIDERS:
        raise ConfigurationError(f"there is no provider {provider!r}; there are: {', '.join(PROVIDERS)}")
    with open_ledger() as ledger:
        resumed = ledger.deciding.resume(provider, account)
        if not resumed and account is not None:
            _require_account(provider, account)
    if as_json:
        print_json({"provider": provider, "resumed": bool(resumed), "accounts": list(resumed),
                    "clock_was_ahead": [name for name, until in resumed.items() if until]})  # fmt: skip
    elif not resumed:
        click.echo(f"{title_of(provider, account) if account else provider} was not paused")
    else:
        for name, until in resumed.items():
            held = (
                f": a clock that was ahead would have stopped it until {until.astimezone():%Y-%m-%d %H:%M}"
                if until
                else ""
            )
            click.echo(f"{title_of(provider, name)} goes on{held}")
    if resumed:
        ring("dispatch")


def _require_account(provider: str, account: str) -> None:
    """Raise ConfigurationError for one that is not set up: a slip of the pen would look like an account that works."""
    known = account_keys(provider, read_settings())
    if account not in known:
        raise ConfigurationError(f"{provider} has no account {account!r} here; there are: {', '.join(known)}")


def _in_batch(ledger: Ledger, batch: str, states: Sequence[State]) -> list[str]:
    newest_batch(ledger, batch)  # which tells an unknown batch from one without such generations
    return [one for state in states for one in _ids(ledger.queries, batch, state)]


def _ids(queries: Queries, batch: str, state: State) -> list[str]:
    ids: list[str] = []
    while page := queries.page(state=state, batch=batch, limit=PAGE, before=ids[-1] if ids else None):
        ids += [one.id for one in page]
    return ids


def _report(after: Mapping[str, State], done: Mapping[str, State], told: Callable[[str], str], *, as_json: bool) -> int:
    for generation_id, state in after.items():
        if as_json:
            print_json({"id": generation_id, "state": state, "done": generation_id in done,
                        "message": told(generation_id)})  # fmt: skip
        else:
            click.echo(f"{generation_id} {'' if generation_id in done else 'is '}{told(generation_id)}")
    if not after:
        note("there is none to which this applies")
    return 0 if after.keys() == done.keys() else 1
