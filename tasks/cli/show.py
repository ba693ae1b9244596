"""`darkroom show`: everything about one generation, as a timeline."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
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
from tasks.usecases.queries import Story
from tasks.waiting import Wait
from worker.generation import Asset, Generation, State
from worker.secrets import DEFAULT_ACCOUNT, links_hidden, secrets_hidden

#: what the moves between states tell already
_TOLD = "generation."
#: what stands below the timeline anyway
_LONG = {"object_key", "sha256"}
_DIM = "bright_black"
#: a line of text is hard to read when it is longer
_WIDTH = 100


@click.command()
@click.argument("generation_id", metavar="GENERATION")
@json_option
def show(generation_id: str, as_json: bool) -> None:
    """Tell everything about one generation."""
    with open_ledger() as here:
        details = usecase.show(here, generation_id)
    story, asked_again_at, waits_for = details.story, details.asked_again_at, details.waits_for
    if as_json:
        print_json(views.of_details(details))
        return
    screen = console()
    screen.width = min(screen.width, _WIDTH)
    _print_heading(screen, story, asked_again_at, waits_for)
    _print_timeline(screen, story)
    _print_assets(screen, story.assets)
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
    options = links_hidden(generation.options)
    facts += [
        (name, one_line(str(value)))
        for name, value in (
            ("task", generation.task_id),
            ("batch", generation.batch_id),
            ("key", generation.key),
            ("options", "  ".join(f"{option}={_listed(options[option])}" for option in options)),
            ("follow-up", ", ".join(generation.follow_up)),
            ("priority", generation.priority or None),
            ("reason", generation.reason),
            ("message", secrets_hidden(generation.message)),
            ("waits", secrets_hidden(waits_for.told) if waits_for else None),
            ("awaited", _awaited(generation, asked_again_at)),
            ("perhaps", _perhaps(story)),
            ("refused", _refused(story)),
            ("pruned", _pruned(story)),
        )
        if value
    ]
    _print_pairs(screen, facts)


def _awaited(generation: Generation, asked_again_at: datetime | None) -> str | None:
    if generation.state is not State.FAILED or asked_again_at is None:
        return None
    at = f"{asked_again_at.astimezone():%H:%M:%S}"
    return f"its provider may still deliver it, and is asked for it at {at}; `darkroom retry` waits for that"


def _perhaps(story: Story) -> str | None:
    if story.generation.state is not State.UNCONFIRMED:
        return None
    return perhaps(story.generation.id, [task_id for attempt in story.attempts for task_id in attempt.candidates])


def _refused(story: Story) -> str | None:
    count = sum(attempt.callbacks_refused for attempt in story.attempts)
    return f"{count} callbacks more, too many or too late to be kept" if count else None


def _pruned(story: Story) -> str | None:
    return ", ".join(f"{kind} from before {at.astimezone():%Y-%m-%d}" for kind, at in story.pruned_before.items())


def _print_timeline(screen: Console, story: Story) -> None:
    moments = sorted(_moments(story), key=lambda moment: moment[0])
    start = moments[0][0] if moments else story.generation.created_at
    _print_title(screen, "Timeline", f"{start.astimezone():%Y-%m-%d, times in %Z}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style=_DIM)
    table.add_column(overflow="fold")
    before: datetime | None = None
    for at, text in moments:
        waited = f"+{duration(at - before)}" if before is not None else ""
        # The day again where the story runs past midnight.
        day = "" if at.astimezone().date() == (before or start).astimezone().date() else f"{at.astimezone():%m-%d} "
        table.add_row(f"  {day}{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03}", waited, text)
        before = at
    screen.print(table)


def _moments(story: Story) -> Iterator[tuple[datetime, Text]]:
    for move in story.transitions:
        mark, style = MARK[move.to_state]
        yield move.at, Text.assemble((f"{mark} {move.to_state}", style), f"  {_hidden(move.cause)}")
    for attempt in story.attempts:
        # What the generation itself says stands in the heading.
        error = attempt.error if attempt.error != story.generation.message else None
        if error or attempt.account != DEFAULT_ACCOUNT:
            account = f" to account {attempt.account}" if attempt.account != DEFAULT_ACCOUNT else ""
            end = f", {attempt.state}: {_hidden(error)}" if error else ""
            yield attempt.sent_at, Text(f"↗ attempt {attempt.number}{account}{end}")
    for callback in story.callbacks:
        verdict = callback.verdict or "waits to be applied"
        error = f": {_hidden(callback.error)}" if callback.error else ""
        yield callback.received_at, Text(f"↘ callback {callback.id}, {size(callback.bytes)}, {verdict}{error}")
    for event in story.events:
        if not event.type.startswith(_TOLD):
            payload = "  ".join(_hidden(str(value)) for name, value in event.payload.items() if name not in _LONG)
            yield event.at, Text.assemble((f"· {event.type}  {payload}", _DIM))
    for one in story.undelivered:
        end = f"{'dismissed' if one.is_dismissed else 'given up'}: {_hidden(one.error or '')}"
        yield one.at, Text(f"✗ event {one.event_id}, {one.type}, for {one.subscriber}, {end}")


def _print_assets(screen: Console, assets: tuple[Asset, ...]) -> None:
    if not assets:
        return
    _print_title(screen, "Results", "")
    for asset in assets:
        pixels = f"{asset.width} x {asset.height}, " if asset.width else ""
        facts = f"{pixels}{size(asset.bytes)}, {asset.content_type}" if asset.object_key else asset.state
        screen.print(Text(f"  {asset.index}  {facts}"))
        if asset.object_key:
            screen.print(Text(f"     {asset.object_key}", style="green"), soft_wrap=True)
            screen.print(Text(f"     sha256 {asset.sha256}", style=_DIM), soft_wrap=True)
        for name, value in (links_hidden(asset.content) or {}).items():
            _print_text(screen, name, value)
        if asset.error:
            screen.print(Text(f"     {_hidden(asset.error)}", style="yellow"))


def _print_text(screen: Console, name: str, value: Any) -> None:
    """What a provider has written: one text, or several to choose from."""
    screen.print(Text(f"     {one_line(name)}", style=_DIM))
    texts = Table.grid(padding=(0, 1))
    texts.add_column(no_wrap=True, justify="right", style=_DIM)
    texts.add_column(overflow="fold")
    for number, text in enumerate(value if isinstance(value, list) else [value], start=1):
        texts.add_row(f"      {number if isinstance(value, list) else ''}", Text(one_line(str(text))))
    screen.print(texts)


def _print_relatives(screen: Console, story: Story) -> None:
    relatives = [("parent", story.generation.parent_id)] if story.generation.parent_id else []
    relatives += [("follow-up", f"{child.id}  {child.action}  {child.state}") for child in story.children]
    if relatives:
        _print_title(screen, "Relatives", "")
        _print_pairs(screen, relatives)
    if story.generation.actions:
        _print_title(screen, "Offers", "")
        screen.print(Text("  " + one_line(", ".join(story.generation.actions))))


def _print_title(screen: Console, title: str, beside: str) -> None:
    screen.print()
    screen.print(Text.assemble((title, "bold"), (f"  {beside}", _DIM)))


def _print_pairs(screen: Console, pairs: list[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=_DIM, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", Text(value))
    screen.print(table)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _hidden(text: str) -> str:
    return one_line(secrets_hidden(text))
