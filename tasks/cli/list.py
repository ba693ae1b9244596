"""`darkroom list`: the newest generations, or matching ones."""

import click

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.labels import label_filter
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.selecting import batch_option, key_option, provider_option
from tasks.usecases import queries as usecase
from tasks.usecases import views
from tasks.usecases.names import short_id
from tasks.usecases.queries import Batch, ListedGeneration, ListRequest
from worker.generation import State
from worker.secrets import redact


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only in this state.")
@batch_option
@provider_option
@key_option
@label_filter
@click.option("--search", metavar="TEXT", help="Only those with this text in the prompt.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Show at most N.")
@click.option("--all", "everything", is_flag=True, help="Show all that match.")
@json_option
def list_generations(
    *, state: str | None, batch: str | None, provider: str | None, key: str | None, labels: dict[str, str],
    search: str | None, limit: int, everything: bool, as_json: bool,
) -> None:  # fmt: skip
    """List generations, newest first.

    All other commands accept the short id in the first column, or your own key.
    """
    request = ListRequest(
        state=State(state) if state else None, batch=batch, provider=provider, key=key, labels=labels,
        search=search, limit=None if everything else limit + 1, with_results=as_json,
    )  # fmt: skip
    shown: list[ListedGeneration] = []
    number, more = 0, False
    with open_ledger() as here:
        for one in usecase.list_generations(here, request):
            more = not everything and number == limit
            if more:
                break
            number += 1
            if as_json:
                print_json(views.of_listed(one))
            else:
                shown.append(one)
        total = usecase.count_generations(here, request) if more else None
        namesakes = usecase.list_batches(here, batch) if batch is not None and not as_json else []
    if shown:
        _print_table(shown, namesakes)
    for wait in {one.waits_for.name: one.waits_for for one in shown if one.waits_for is not None}.values():
        note(f"waiting: {one_line(redact(wait.told))}")
    if more:
        of = "" if total is None else f" of {total:,}"
        note(f"{number:,}{of} shown{'; there are more' if total is None else ''}: --all or --limit N")
    if not number:
        note("No matching generations.")


def _print_table(listed: list[ListedGeneration], namesakes: list[Batch]) -> None:
    # JSON output does not need tables.
    from tasks.cli.ui.generation_table import print_table  # noqa: PLC0415

    print_table(listed)
    if len(namesakes) > 1:
        ids = ", ".join(f"{one.name} {short_id(one.id)}" for one in namesakes)
        note(f"{len(namesakes)} batches match: {one_line(ids)}")
