"""`darkroom replay`: callbacks that could not be applied, once more."""

import click

from tasks.cli.connection import open_ledger, ring
from tasks.cli.output import json_option, note, one_line, print_json, secrets_hidden
from worker.generation import iso
from worker.ledger import Ledger
from worker.ledger.queries import CallbackNote

#: more than anybody sets aside; their bodies are not read
ALL = 100_000


@click.command()
@click.argument("callback_ids", nargs=-1, type=int, metavar="[CALLBACK]...")
@click.option("--list", "only_list", is_flag=True, help="Show those that were set aside and change nothing.")
@json_option
@click.pass_context
def replay(ctx: click.Context, callback_ids: tuple[int, ...], only_list: bool, as_json: bool) -> None:
    """Apply stored callbacks again.

    Those named, or all that were set aside because nobody understood them. Repeating one does no harm: an outcome is
    applied once.
    """
    if callback_ids and only_list:
        raise click.UsageError("--list takes no CALLBACK")
    with open_ledger() as ledger:
        if only_list:
            _list(ledger.queries.dead_callbacks(ALL), as_json=as_json)
            return
        chosen = dict.fromkeys(callback_ids or (callback.id for callback in ledger.queries.dead_callbacks(ALL)))
        replayed = _replay(ledger, list(chosen), as_json=as_json)
        if replayed:
            ring("ingest")
    if not chosen:
        note("no callback is set aside")
    ctx.exit(0 if replayed == len(chosen) else 1)


def _replay(ledger: Ledger, callback_ids: list[int], *, as_json: bool) -> int:
    replayed = 0
    for callback_id in callback_ids:
        again = ledger.inbox.replay([callback_id]) == 1
        replayed += again
        message = "will be applied again" if again else "does not exist, or waits to be applied already"
        if as_json:
            print_json({"callback": callback_id, "done": again, "message": message})
        else:
            click.echo(f"callback {callback_id} {message}")
    return replayed


def _list(callbacks: list[CallbackNote], *, as_json: bool) -> None:
    for callback in callbacks:
        error = secrets_hidden(callback.error)
        if as_json:
            facts = {"attempt": callback.attempt_id, "received_at": iso(callback.received_at), "bytes": callback.bytes}
            print_json({"callback": callback.id, **facts, "verdict": callback.verdict, "error": error})
        else:
            received = f"{callback.received_at.astimezone():%Y-%m-%d %H:%M:%S}"
            click.echo(f"{callback.id}  {received}  {callback.verdict}  {one_line(error or '')}")
    if not callbacks:
        note("no callback is set aside")
