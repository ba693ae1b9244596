"""Following generations until all are done: a live picture on a terminal, one line per change everywhere else."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.output import note, one_line, print_json
from tasks.cli.ui.style import MARK, as_tree, console, prompt_text, state_text, what
from tasks.usecases import views
from tasks.usecases.scope import Scope
from tasks.waiting import Wait, those_of
from worker.generation import Generation, State
from worker.secrets import redact

#: seconds between two looks, and how much longer than the look itself the pause is: watching must not be a load
_PAUSE = 0.25
_PAUSE_FACTOR = 4
#: seconds between two looks for why something waits, and how many generations are looked at
_REASONS_EVERY = 5.0
_MOST = 1000


def follow(
    scope: Scope,
    *,
    as_json: bool = False,
    waits: Callable[[], Sequence[Wait]] = tuple,
    interrupted: Callable[[], bool] = lambda: False,
) -> bool:
    """Show what happens until all are done; whether all were archived. `interrupted`: raise KeyboardInterrupt.

    `waits`: why something may wait, now; what holds up any of these is told when it begins.
    """
    reasons = _Reasons(scope, waits)
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        for is_last in _looks(scope, interrupted):
            moves = scope.moves(is_last=is_last)
            lineages = scope.lineages([one for one, _ in moves]) if as_json else {}
            for generation, move in moves:
                if as_json:
                    print_json(views.of_move(generation, lineages[generation.id], move))
                else:
                    click.echo(f"{generation.id}  {move.to_state:<11}  {prompt_text(generation)}", err=True)
            reasons.tell()
    else:
        with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
            before = None
            for _ in _looks(scope, interrupted):
                picture = picture_of(scope, screen.height, reasons.look())
                # Drawing the same again would only flicker.
                if picture != before:
                    live.update(picture.drawn(), refresh=True)
                before = picture
    counts = scope.counts()
    return counts.get(State.ARCHIVED, 0) == sum(counts.values())


def _looks(scope: Scope, interrupted: Callable[[], bool]) -> Iterator[bool]:
    """Once for each look at the scope: whether it is the last one, because it is done."""
    done = False
    while not done:
        started = time.monotonic()
        done = scope.is_done()
        yield done
        if not done:
            _wait(max(_PAUSE, (time.monotonic() - started) * _PAUSE_FACTOR), interrupted)


def _wait(seconds: float, interrupted: Callable[[], bool]) -> None:
    resume = time.monotonic() + seconds
    while time.monotonic() < resume:
        if interrupted():
            raise KeyboardInterrupt
        time.sleep(0.05)


class _Reasons:
    """What holds up generations of this scope; asked for now and then, for it changes seldom."""

    def __init__(self, scope: Scope, waits: Callable[[], Sequence[Wait]]) -> None:
        self._scope = scope
        self._waits = waits
        self._asked_at: float | None = None
        self._now: tuple[Wait, ...] = ()
        self._told: set[tuple[str, str]] = set()

    def look(self) -> tuple[Wait, ...]:
        if self._asked_at is None or time.monotonic() - self._asked_at >= _REASONS_EVERY:
            waits = self._waits()
            self._now = tuple(those_of(self._scope.some(_MOST), waits)) if waits else ()
            self._asked_at = time.monotonic()
        return self._now

    def tell(self) -> None:
        """Those that are new, one line each."""
        now = self.look()
        for wait in now:
            if wait.name not in self._told:
                note(f"waiting: {one_line(redact(wait.told))}")
        self._told = {wait.name for wait in now}


@dataclass(frozen=True, slots=True)
class Picture:
    """What the terminal shows of a scope."""

    name: str
    counts: Mapping[State, int]
    shown: tuple[Generation, ...]
    reasons: tuple[str, ...] = ()

    def drawn(self) -> RenderableType:
        hidden = sum(self.counts.values()) - len(self.shown)
        reasons = [Text(reason, style="yellow") for reason in self.reasons]
        parts: list[RenderableType] = [_heading(self.name, self.counts), *reasons, Text(), _rows(self.shown)]
        if hidden > 0:
            parts.append(Text(f"  … and {hidden} more", style="bright_black"))
        return Group(*parts)


def picture_of(scope: Scope, height: int, waits: Sequence[Wait] = ()) -> Picture:
    """As much as fits a terminal of so many lines."""
    reasons = tuple(f"waiting: {one_line(redact(wait.told))}" for wait in waits)
    # Three lines for each of these.
    height -= 3 * len(reasons)
    # Room for the heading, the line of what is left out, and the line where the cursor stands.
    return Picture(scope.name, dict(scope.counts()), tuple(scope.some(max(1, height - 5))), reasons)


def _heading(name: str, counts: Mapping[State, int]) -> RenderableType:
    total = sum(counts.values())
    archived = counts.get(State.ARCHIVED, 0)
    heading = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, total), completed=archived, width=20, complete_style="green", finished_style="green")
    numbers = Text(f"{archived}/{total}", style="bold")
    for state in MARK:
        if counts.get(state) and state is not State.ARCHIVED:
            numbers.append(f"  {counts[state]} {state}", style=MARK[state][1])
    heading.add_row(bar, numbers, Text(one_line(name), style="bright_black", no_wrap=True, overflow="ellipsis"))
    return heading


def _rows(generations: Sequence[Generation]) -> RenderableType:
    several = len({one.provider for one in generations}) > 1
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=13, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True)
    if several:
        table.add_column(no_wrap=True, style="bright_black")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for depth, one in as_tree(generations):
        under_way = one.progress is not None and one.state is State.SUBMITTED
        text = Text("  " * depth)
        text.append(f"{what(one)} " if one.action else "", style="cyan")
        text.append(prompt_text(one) if one.action is None else "")
        if one.reason and one.state is not State.ARCHIVED:
            text.append(f"  {one_line(one.reason)}", style=MARK[one.state][1])
        provider = [one_line(one.provider)] if several else []
        table.add_row(state_text(one.state), f"{one.progress}%" if under_way else "", *provider, text)
    return table
