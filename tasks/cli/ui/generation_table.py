"""Generations as a table: cut to the width of a terminal, or complete and tab-separated in a pipe."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.output import one_line
from tasks.cli.ui.style import MARK, age, console, state_text, title_text
from tasks.usecases.names import short_id
from tasks.usecases.queries import ListedGeneration
from tasks.waiting import Cause
from worker.generation import State, iso
from worker.secrets import secrets_hidden

#: why something waits, in two words
_WHY = {
    Cause.RESTORE_GUARD: "submissions stopped",
    Cause.WORKERS: "no worker",
    Cause.CLOCK: "no clock",
    Cause.BATCH_PAUSED: "batch paused",
    Cause.BATCH_START: "starts later",
    Cause.BATCH_LIMIT: "batch at its limit",
    Cause.BUDGET: "over budget",
    Cause.PAUSE: "provider paused",
    Cause.BREAKER: "circuit open",
    Cause.SLOWED: "reduced rate",
    Cause.DOWNLOAD: "download waits",
    Cause.APPROVAL: "waits for a decision",
}
#: maximum characters of a prompt shown before a reason, and of a batch's name
_SHORT_PROMPT, _BATCH = 24, 16


def print_table(listed: Sequence[ListedGeneration]) -> None:
    screen = console()
    if not screen.is_terminal:
        for one in listed:
            click.echo("\t".join(_fields(one)))
        return
    batches = _names(listed)
    several = len({one.generation.provider for one in listed}) > 1
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if several:
        table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    if batches:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=_BATCH, style="bright_black")
    table.add_column(no_wrap=True, justify="right", style="bright_black")
    now = datetime.now(UTC)
    for one in listed:
        generation = one.generation
        provider = [one_line(generation.provider)] if several else []
        batch = [one_line(batches.get(generation.batch_id, ""))] if batches else []
        table.add_row(
            short_id(generation.id), state_text(generation.state), *provider, _title(one), *batch,
            age(now - generation.created_at),
        )  # fmt: skip
    screen.print(table)


def reason_of(one: ListedGeneration) -> str:
    """Say in a few words why it waits or is not archived."""
    if one.waits_for is not None:
        return _WHY[one.waits_for.cause]
    generation = one.generation
    if generation.state in {State.ARCHIVED, State.CANCELLED, State.DELETED} or not generation.reason:
        return ""
    return one_line(secrets_hidden(generation.reason)).replace("_", " ")


def _title(one: ListedGeneration) -> Text:
    reason = reason_of(one)
    if not reason:
        return Text(title_text(one.generation, one.lineage.root_key))
    title = title_text(one.generation, one.lineage.root_key, _SHORT_PROMPT)
    return Text.assemble(title, "  ", (reason, MARK[one.generation.state][1]))


def _names(listed: Sequence[ListedGeneration]) -> dict[str | None, str]:
    """Return batch names by id; batches with the same name also get their short id."""
    names = {one.generation.batch_id: one.lineage.batch or "" for one in listed if one.generation.batch_id}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        id: f"{short_id(str(id))} {name}" if name in shared else name for id, name in names.items()  # noqa: A001
    }  # fmt: skip


def _fields(one: ListedGeneration) -> tuple[str, ...]:
    generation, lineage = one.generation, one.lineage
    title = title_text(generation, lineage.root_key)
    fields = (generation.id, generation.state, generation.provider, title, lineage.batch or "", reason_of(one))
    return (*map(one_line, fields), str(iso(generation.created_at)))
