"""`darkroom show`: everything about one generation, with its timeline."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.candidates import perhaps
from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, one_line, print_json
from tasks.cli.ui.style import MARK, console, size, state_text, what
from tasks.durations import duration
from tasks.usecases import queries as usecase
from tasks.usecases import views
from tasks.usecases.approvals import Approval, ApprovalState, in_words
from tasks.usecases.queries import Story
from tasks.waiting import Wait
from worker.failures import REMEDIES, category_of
from worker.generation import Generation, State, iso
from worker.pricing import as_text
from worker.secrets import DEFAULT_ACCOUNT, links_hidden, secrets_hidden

#: prefix of events that the state changes already show
_SHOWN = "generation."
#: facts that the results below the timeline show anyway
_LONG = {"object_key", "sha256"}
_DIM = "bright_black"
#: longer lines of text are hard to read
_WIDTH = 100


@click.command()
@click.argument("name", metavar="GENERATION")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a generation and its history.

    GENERATION is its id, part of its id, its short id from `darkroom list`, or your own key (BATCH/KEY if several
    batches use that key).
    """
    with open_ledger() as here:
        details = usecase.show(here, name)
    story, asked_again_at, waits_for = details.story, details.asked_again_at, details.waits_for
    if as_json:
        print_json(views.of_details(details))
        return
    screen = console()
    screen.width = min(screen.width, _WIDTH)
    _print_heading(screen, story, asked_again_at, waits_for)
    _print_approvals(screen, details.approvals)
    _print_timeline(screen, story)
    _print_assets(screen, story)
    _print_relatives(screen, story)


def _print_heading(screen: Console, story: Story, asked_again_at: datetime | None, waits_for: Wait | None) -> None:
    generation = story.generation
    heading = Table.grid(expand=True)
    heading.add_column(no_wrap=True)
    heading.add_column(justify="right", no_wrap=True)
    heading.add_row(Text(generation.id, style="bold"), state_text(generation.state))
    screen.print(heading)
    screen.print(Text(one_line(links_hidden(generation.prompt)), style="italic"))
    facts = [("provider", f"{generation.provider} · {what(generation)}")]
    if generation.is_test:
        facts.append(("test", "made by the sandbox, costs nothing"))
    options = links_hidden(generation.options)
    facts += [
        (name, one_line(str(value)))
        for name, value in (
            ("else", _choices(generation)),
            ("key", generation.key),
            ("of", story.lineage.root_key if generation.key is None else None),
            ("batch", _batch(story)),
            ("labels", "  ".join(f"{name}={one_line(value)}" for name, value in story.labels.items())),
            ("task", generation.task_id),
            ("options", "  ".join(f"{option}={_listed(options[option])}" for option in options)),
            ("follow-up", ", ".join(generation.follow_up)),
            ("priority", generation.priority or None),
            ("cost", _cost(story)),
            ("reason", generation.reason),
            ("message", secrets_hidden(generation.message)),
            ("failure", _failure(generation)),
            ("waiting", _waiting(waits_for)),
            ("awaited", _awaited(generation, asked_again_at)),
            ("perhaps", _perhaps(story)),
            ("refused", _refused(story)),
            ("pruned", _pruned(story)),
        )
        if value
    ]
    _print_pairs(screen, facts)


def _waiting(waits_for: Wait | None) -> str | None:
    """Describe the wait, without the advice to run `darkroom show`, which the user is doing."""
    if waits_for is None:
        return None
    told = waits_for.told
    if waits_for.remedy.startswith("see `darkroom show "):
        told = told.removesuffix(f", {waits_for.remedy}")
    return str(secrets_hidden(told))


def _choices(generation: Generation) -> str | None:
    """The providers that it may move to."""
    is_sent = generation.tries > 0 or generation.state is not State.QUEUED
    return None if is_sent else ", ".join(generation.providers)


def _batch(story: Story) -> str | None:
    batch_id = story.generation.batch_id
    return batch_id and f"{one_line(story.lineage.batch or '')}  {batch_id}"


def _cost(story: Story) -> str | None:
    """By state; failures cost nothing."""
    amounts: Counter[str] = Counter()
    for one in story.charges:
        amounts[one.state] += one.price
    own = ", ".join(f"{as_text(amount)} {state}" for state, amount in amounts.items() if amount)
    if not story.children or not story.spent_in_total:
        return own
    return f"{own or '0.00'}; {as_text(story.spent_in_total)} with its follow-ups"


def _failure(generation: Generation) -> str | None:
    category = category_of(generation.state, generation.reason, generation.message)
    return category and f"{category}: {REMEDIES[category]}"


def _awaited(generation: Generation, asked_again_at: datetime | None) -> str | None:
    if generation.state is not State.FAILED or asked_again_at is None:
        return None
    at = f"{asked_again_at.astimezone():%H:%M:%S}"
    return f"the provider may still deliver it; the next check is at {at}, and `darkroom retry` waits for it"


def _perhaps(story: Story) -> str | None:
    if story.generation.state is not State.UNCONFIRMED:
        return None
    return perhaps(story.generation.id, [task_id for attempt in story.attempts for task_id in attempt.candidates])


def _refused(story: Story) -> str | None:
    count = sum(attempt.callbacks_refused for attempt in story.attempts)
    return f"{count} more callbacks were not stored: too many or too late" if count else None


def _pruned(story: Story) -> str | None:
    return ", ".join(f"{kind} from before {at.astimezone():%Y-%m-%d}" for kind, at in story.pruned_before.items())


def _print_approvals(screen: Console, approvals: Sequence[Approval]) -> None:
    if not approvals:
        return
    _print_title(screen, "Decisions", "")
    for one in approvals:
        told = f"waits until {iso(one.expires_at)}" if one.state is ApprovalState.ASKED else in_words(one)
        why = f": {_hidden(one.why)}" if one.why else ""
        _print_beside(screen, Text(f"  {one.step}  "), Text(f"{one.id} {_hidden(told)}{why}"))


def _print_timeline(screen: Console, story: Story) -> None:
    moments = sorted(_moments(story), key=lambda moment: moment[0])
    start = moments[0][0] if moments else story.generation.created_at
    _print_title(screen, "Timeline", f"{start.astimezone():%Y-%m-%d, times in %Z}")
    before: datetime | None = None
    for at, text in moments:
        waited = f"+{duration(at - before)}" if before is not None else ""
        # Repeat the day if the timeline runs past midnight.
        day = "" if at.astimezone().date() == (before or start).astimezone().date() else f"{at.astimezone():%m-%d} "
        time = f"  {day}{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03}"
        _print_beside(screen, Text.assemble(f"{time:<14}  ", (f"{waited:>8}", _DIM), "  "), text)
        before = at


def _moments(story: Story) -> Iterator[tuple[datetime, Text]]:
    # An error is shown once: in the heading, or beside its result.
    said = {story.generation.message, *(asset.error for asset in story.assets)}
    for move in story.transitions:
        mark, style = MARK[move.to_state]
        yield move.at, Text.assemble((f"{mark} {move.to_state}", style), f"  {_hidden(move.cause)}")
    for change in story.generation.provider_changes:
        why = f"from {change.left} to {change.to}: {_hidden(change.why)}"
        yield datetime.fromisoformat(change.at), Text(f"→ moved {why}")
    for attempt in story.attempts:
        error = attempt.error if attempt.error not in said else None
        if error or attempt.account != DEFAULT_ACCOUNT:
            account = f" to account {attempt.account}" if attempt.account != DEFAULT_ACCOUNT else ""
            end = f", {attempt.state}: {_hidden(error)}" if error else ""
            yield attempt.sent_at, Text(f"↗ attempt {attempt.number}{account}{end}")
    for callback in story.callbacks:
        verdict = callback.verdict or "not applied yet"
        error = f": {_hidden(callback.error)}" if callback.error else ""
        yield callback.received_at, Text(f"↘ callback {callback.id}, {size(callback.bytes)}, {verdict}{error}")
    for event in story.events:
        if not event.type.startswith(_SHOWN):
            values = [str(value) for name, value in event.payload.items() if name not in _LONG]
            payload = "  ".join(_hidden(value) for value in values if value not in said)
            yield event.at, Text.assemble((f"· {event.type}  {payload}", _DIM))
    for one in story.undelivered:
        end = f"{'dismissed' if one.is_dismissed else 'abandoned'}: {_hidden(one.error or '')}"
        yield one.at, Text(f"✗ event {one.event_id}, {one.type}, for {one.subscriber}, {end}")


def _print_assets(screen: Console, story: Story) -> None:
    if not story.assets:
        return
    _print_title(screen, "Results", "")
    said = {story.generation.message}
    for asset in story.assets:
        pixels = f"{asset.width} x {asset.height}, " if asset.width else ""
        facts = f"{pixels}{size(asset.bytes)}, {asset.content_type}" if asset.object_key else asset.state
        screen.print(Text(f"  {asset.index}  {facts}"))
        if asset.object_key:
            screen.print(Text(f"     {asset.object_key}", style="green"), soft_wrap=True)
            screen.print(Text(f"     sha256 {asset.sha256}", style=_DIM), soft_wrap=True)
        for name, value in (links_hidden(asset.content) or {}).items():
            _print_text(screen, name, value)
        if asset.error and asset.error not in said:
            said.add(asset.error)
            _print_beside(screen, Text("     "), Text(_hidden(asset.error), style="yellow"))


def _print_text(screen: Console, name: str, value: Any) -> None:
    """Print text from a provider: one, or several to choose from."""
    screen.print(Text(f"     {one_line(name)}", style=_DIM))
    texts = Table.grid(padding=(0, 1))
    texts.add_column(no_wrap=True, justify="right", style=_DIM)
    texts.add_column(overflow="fold")
    for number, text in enumerate(value if isinstance(value, list) else [value], start=1):
        texts.add_row(f"      {number if isinstance(value, list) else ''}", Text(one_line(str(text))))
    screen.print(texts)


def _print_relatives(screen: Console, story: Story) -> None:
    if story.generation.parent_id:
        _print_title(screen, "Parent", "")
        screen.print(Text(f"  {story.generation.parent_id}"))
    if story.children:
        _print_title(screen, "Follow-ups", "")
        table = Table.grid(padding=(0, 2))
        for child in story.children:
            table.add_row(f"  {child.action}", state_text(child.state), child.id)
        screen.print(table)
    if story.generation.actions:
        _print_title(screen, "Available actions", "")
        _print_beside(screen, Text("  "), Text(one_line(", ".join(story.generation.actions))))


def _print_title(screen: Console, title: str, beside: str) -> None:
    screen.print()
    screen.print(Text.assemble((title, "bold"), (f"  {beside}", _DIM)))


def _print_pairs(screen: Console, pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        _print_beside(screen, Text(f"  {name:<{width}}  ", style=_DIM), Text(value))


def _print_beside(screen: Console, start: Text, text: Text) -> None:
    """Print the text wrapped beside `start`; a link longer than a line stays whole, so that it can be copied."""
    width = max(20, screen.width - start.cell_len)
    breaks, column = [], 0
    for word in re.finditer(r"\S+\s*", text.plain):
        if column and column + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            column = 0
        column += cell_len(word[0])
    lines = text.divide(breaks)
    for line in lines:
        line.rstrip()
    screen.print(Text.assemble(start, Text("\n" + " " * start.cell_len).join(lines)), soft_wrap=True)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _hidden(text: str) -> str:
    return one_line(secrets_hidden(text))
