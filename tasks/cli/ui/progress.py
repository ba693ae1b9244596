"""Following generations until all are done: a live view on a terminal, one line per change everywhere else."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TypeVar

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.output import many, note, one_line, print_json
from tasks.cli.ui.style import MARK, as_tree, console, state_text, title_text, what
from tasks.durations import elapsed
from tasks.usecases import views
from tasks.usecases.names import short_id
from tasks.usecases.scope import INTERESTING, Scope, Summary
from tasks.waiting import Wait, those_of
from worker.errors import LedgerUnavailable
from worker.failures import Category
from worker.generation import FINAL, Generation, Lineage, State, Transition
from worker.secrets import redact, secrets_hidden

#: minimum seconds between polls, and how many times longer than the poll itself: watching must not be a load
_PAUSE = 0.25
_PAUSE_FACTOR = 4
#: seconds between polls for why something waits, and how many generations are examined
_REASONS_EVERY = 5.0
_MOST = 1000
#: seconds over which the rate is measured, the minimum of them, and between lines about it without a terminal
_RATE_OVER, _RATE_FROM, _TOLD_EVERY = 60.0, 5.0, 30.0
#: seconds between retries while the ledger is unreachable
_AWAY = 1.0
#: reported as a state, not as a reason
_STATES = {Category.UNCONFIRMED, Category.CANCELLED}
#: states that a person must look at
_BAD = (State.EXPIRED, State.FAILED, State.UNCONFIRMED)

T = TypeVar("T")


class Ending(IntEnum):
    """How watching ended, as an exit code."""

    WELL = 0
    BADLY = 1
    #: a person has to decide before it continues
    UNDECIDED = 3


class Patience:
    """Reads the ledger; while it is unreachable, says so once and waits."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted

    def read(self, once: Callable[[], T]) -> T:
        is_told = False
        while True:
            try:
                found = once()
            except LedgerUnavailable as error:
                if not is_told:
                    note(f"waiting for the ledger: {one_line(redact(str(error)))}")
                is_told = True
                _wait(_AWAY, self._interrupted)
            else:
                if is_told:
                    note("the ledger is back")
                return found

    def of(self, scope: Scope) -> Scope:
        """Return the same scope, waiting for the ledger."""
        return _PatientScope(scope, self)


class _PatientScope:
    """A scope that waits for the ledger."""

    def __init__(self, scope: Scope, patience: Patience) -> None:
        self._scope = scope
        self._read = patience.read
        self.name = scope.name

    def counts(self) -> Mapping[State, int]:
        return self._read(self._scope.counts)

    def some(self, limit: int) -> list[Generation]:
        return self._read(lambda: self._scope.some(limit))

    def moves(self, *, is_last: bool) -> list[tuple[Generation, Transition]]:
        return self._read(lambda: self._scope.moves(is_last=is_last))

    def is_done(self) -> bool:
        return self._read(self._scope.is_done)

    def decisions(self) -> int:
        return self._read(self._scope.decisions)

    def lineages(self, generations: Sequence[Generation]) -> Mapping[str, Lineage]:
        return self._read(lambda: self._scope.lineages(generations))

    def failures(self) -> Mapping[Category, int]:
        return self._read(self._scope.failures)

    def spent(self) -> int:
        return self._read(self._scope.spent)

    def lasted(self) -> timedelta:
        return self._read(self._scope.lasted)


def follow(
    scope: Scope,
    *,
    as_json: bool = False,
    waits: Callable[[], Sequence[Wait]] = tuple,
    summary: Callable[[], Summary] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Ending:
    """Show what happens until all are done or wait for a person; return WELL if all were archived.

    `interrupted`: raise KeyboardInterrupt.

    Waits out an unreachable ledger. `waits`: the current reasons why something may wait; each is printed when it begins
    to hold up any of these. `summary`: printed last.
    """
    patience = Patience(interrupted)
    scope = patience.of(scope)
    reasons = _Reasons(scope, lambda: patience.read(waits))
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        _print_changes(scope, reasons, interrupted, as_json=as_json)
    else:
        with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
            before, rate = None, _Rate()
            for _ in looks(scope, interrupted):
                picture = picture_of(scope, screen.height, reasons.look(), rate)
                # Redrawing an unchanged view would only flicker.
                if picture != before:
                    live.update(picture.drawn(), refresh=True)
                before = picture
    counts = scope.counts()
    if summary is not None and not as_json:
        note(summary_text(patience.read(summary)))
    return ending(scope, is_good=counts.get(State.ARCHIVED, 0) == sum(counts.values()))


def ending(scope: Scope, *, is_good: bool) -> Ending:
    """Return how watching ended; print a note if a person has to decide."""
    if number := scope.decisions():
        note(f"waiting for {many(number, 'decision')} from you: `darkroom approvals`")
        return Ending.UNDECIDED
    return Ending.WELL if is_good else Ending.BADLY


def summary_text(summary: Summary) -> str:
    """Such as `360 archived, 0 failed, 11.40 EUR, 2 min 47 s, manifest s3://…`."""
    counts = {State.ARCHIVED: 0, State.FAILED: 0, **summary.counts}
    parts = [f"{count:,} {state}" for state, count in counts.items()]
    reasons = {one: number for one, number in summary.failures.items() if one not in _STATES}
    if reasons:
        told = ", ".join(f"{number:,} {one}" for one, number in sorted(reasons.items(), key=lambda item: -item[1]))
        parts.append(f"reasons: {told}")
    parts += [summary.spent] if summary.spent else []
    parts.append(elapsed(summary.lasted))
    parts += [f"manifest {one_line(summary.manifest)}"] if summary.manifest else []
    return ", ".join(parts)


def _print_changes(scope: Scope, reasons: "_Reasons", interrupted: Callable[[], bool], *, as_json: bool) -> None:
    rate, told_at = _Rate(), time.monotonic()
    for is_last in looks(scope, interrupted):
        moves = scope.moves(is_last=is_last)
        lineages = scope.lineages([one for one, _ in moves]) if moves else {}
        for generation, move in moves:
            lineage = lineages[generation.id]
            if as_json:
                print_json(views.of_move(generation, lineage, move))
                continue
            title = title_text(generation, lineage.root_key)
            reason = _reason(generation) if move.to_state in _BAD else ""
            click.echo(f"{short_id(generation.id)}  {move.to_state:<11}  {title}{reason and f'  {reason}'}", err=True)
        reasons.tell()
        if not as_json and not is_last:
            left = rate.left(scope.counts())
            if left is not None and time.monotonic() - told_at >= _TOLD_EVERY:
                note(left)
                told_at = time.monotonic()


def looks(scope: Scope, interrupted: Callable[[], bool]) -> Iterator[bool]:
    """Yield once per poll of the scope: whether it is done, which makes this the last poll."""
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


class _Rate:
    """Generations that finish per second, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def left(self, counts: Mapping[State, int]) -> str | None:
        """Such as `252 of 336, about 45 s left`; None while too little is known or nothing finishes."""
        now, total = time.monotonic(), sum(counts.values())
        done = sum(count for state, count in counts.items() if state in FINAL)
        while self._seen and now - self._seen[0][0] > _RATE_OVER:
            self._seen.popleft()
        self._seen.append((now, done))
        since, before = self._seen[0]
        if now - since < _RATE_FROM or done <= before or done == total:
            return None
        seconds = (total - done) * (now - since) / (done - before)
        return f"{done:,} of {total:,}, about {_rounded(seconds)} left"


def _rounded(seconds: float) -> str:
    """Round to the precision of the estimate, steady enough to read."""
    step = 5 if seconds < 60 else 30 if seconds < 600 else 60
    return elapsed(timedelta(seconds=max(step, round(seconds / step) * step))).removesuffix(" 0 s")


class _Reasons:
    """What holds up generations of this scope; queried only now and then, because it seldom changes."""

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
        """Print the new ones, one line each."""
        now = self.look()
        for wait in now:
            if wait.name not in self._told:
                note(f"waiting: {one_line(redact(wait.told))}")
        self._told = {wait.name for wait in now}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What the terminal shows of a scope. `left`: how long it still takes."""

    name: str
    counts: Mapping[State, int]
    shown: tuple[Generation, ...]
    lineages: Mapping[str, Lineage]
    reasons: tuple[str, ...] = ()
    left: str | None = None

    def drawn(self) -> RenderableType:
        hidden = sum(self.counts.values()) - len(self.shown)
        reasons = [Text(reason, style="yellow") for reason in self.reasons]
        parts: list[RenderableType] = [_heading(self), *reasons, Text(), _rows(self.shown, self.lineages)]
        if hidden > 0:
            parts.append(Text(f"  … and {hidden:,} more", style="bright_black"))
        return Group(*parts)


def picture_of(scope: Scope, height: int, waits: Sequence[Wait] = (), rate: _Rate | None = None) -> Picture:
    """Return as much as fits a terminal of this height."""
    reasons = tuple(f"waiting: {one_line(redact(wait.told))}" for wait in waits)
    # Each reason takes three lines.
    height -= 3 * len(reasons)
    # Room for the heading, the line about what is left out, and the cursor's line.
    shown = tuple(scope.some(max(1, height - 5)))
    counts = dict(scope.counts())
    return Picture(
        name=scope.name,
        counts=counts,
        shown=shown,
        lineages=scope.lineages(shown),
        reasons=reasons,
        left=None if rate is None else rate.left(counts),
    )


def _heading(picture: Picture) -> RenderableType:
    counts = picture.counts
    total = sum(counts.values())
    archived = counts.get(State.ARCHIVED, 0)
    heading = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, total), completed=archived, width=20, complete_style="green", finished_style="green")
    numbers = Text(f"{archived:,}/{total:,}", style="bold")
    for state in sorted(counts.keys() - {State.ARCHIVED}, key=INTERESTING.index):
        if counts[state]:
            numbers.append(f"  {counts[state]:,} {state}", style=MARK[state][1])
    if picture.left is not None:
        numbers.append(f"  {picture.left.partition(', ')[2]}", style="bright_black")
    # Numbers first: a long name is cut or left out.
    heading.add_column()
    heading.add_column(min_width=numbers.cell_len, no_wrap=True)
    heading.add_column(no_wrap=True, overflow="ellipsis")
    heading.add_row(bar, numbers, Text(one_line(picture.name), style="bright_black", no_wrap=True, overflow="ellipsis"))
    return heading


def _rows(generations: Sequence[Generation], lineages: Mapping[str, Lineage]) -> RenderableType:
    several = len({one.provider for one in generations}) > 1
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=13, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True)
    if several:
        table.add_column(no_wrap=True, style="bright_black")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    bad = [one for one in generations if one.state in _BAD]
    others = [one for one in generations if one.state not in _BAD]
    for depth, one in [*((0, one) for one in bad), *as_tree(others)]:
        under_way = one.progress is not None and one.state is State.SUBMITTED
        text = Text("  " * depth)
        reason = _reason(one)
        if depth:
            text.append(what(one), style="cyan")
        else:
            text.append(title_text(one, lineages[one.id].root_key, 24 if reason else None))
        if reason:
            text.append(f"  {reason}", style=MARK[one.state][1])
        provider = [one_line(one.provider)] if several else []
        table.add_row(state_text(one.state), f"{one.progress}%" if under_way else "", *provider, text)
    return table


def _reason(one: Generation) -> str:
    """Say why it failed or waits: the reason, and the message if there is one."""
    if not one.reason or one.state is State.ARCHIVED:
        return ""
    message = f": {secrets_hidden(one.message)}" if one.message else ""
    return one_line(f"{one.reason}{message}")
