"""One style for all commands: state colors, readable numbers, a console that fits."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from rich.console import Console
from rich.text import Text

from tasks.cli.ui.output import one_line
from worker.generation import Generation, Operation, State
from worker.secrets import links_hidden

MARK = {
    State.QUEUED: ("○", "bright_black"),
    State.SUBMITTING: ("◔", "cyan"),
    State.SUBMITTED: ("◑", "cyan"),
    State.UNCONFIRMED: ("?", "yellow"),
    State.SUCCEEDED: ("◕", "blue"),
    State.ARCHIVED: ("●", "green"),
    State.EXPIRED: ("✗", "bold red"),
    State.FAILED: ("✗", "red"),
    State.CANCELLED: ("-", "bright_black"),
    State.DELETED: ("-", "bright_black"),
}


def console(*, stderr: bool = False) -> Console:
    """Return a plain-text console: no color codes unless we ask for them, and no markup or emoji from prompts."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def state_text(state: State) -> Text:
    mark, style = MARK[state]
    return Text(f"{mark} {state}", style=style)


def what(generation: Generation) -> str:
    """`imagine`, or the action of a follow-up."""
    return one_line(generation.action or generation.operation)


def prompt_text(generation: Generation) -> str:
    prompt = one_line(links_hidden(generation.prompt))
    if generation.operation is Operation.IMAGINE:
        return prompt
    return f"{what(generation)} · {prompt}" if prompt else what(generation)


def title_text(generation: Generation, root_key: str | None, width: int | None = None) -> str:
    """Return its title: the key (of its first ancestor, with the action) and the prompt, cut to fit.

    `width`: characters of a prompt that stands alone. A test is marked as one.
    """
    title = _title(generation, root_key, width)
    return f"[test] {title}" if generation.is_test else title


def _title(generation: Generation, root_key: str | None, width: int | None) -> str:
    prompt = prompt_text(generation) if root_key is None else one_line(links_hidden(generation.prompt))
    if root_key is None:
        return prompt if width is None else cut(prompt, width)
    name = one_line(generation.key or root_key)
    if generation.key is None and generation.action:
        name = f"{name} {what(generation)}"
    return name if width is not None or not prompt else f"{name} · {prompt}"


def age(time: timedelta) -> str:
    """Such as `12 s`, `5 min`, `3 h` or `12 d`."""
    seconds = max(0, int(time.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def cut(text: str, width: int = 100) -> str:
    """Return the text, or only its beginning if all of it would crowd out the lines around it."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def size(number: int | None) -> str:
    """Return a readable number of bytes, in powers of ten."""
    if number is None:
        return ""
    if number < 1000:
        return f"{number} B"
    if number < 1_000_000:
        return f"{number / 1000:.0f} kB"
    return f"{number / 1_000_000:.1f} MB"


def as_tree(generations: Iterable[Generation]) -> Iterator[tuple[int, Generation]]:
    """Yield each parent with its follow-ups below it, oldest first; a child whose parent is not shown stands alone."""
    generations = sorted(generations, key=lambda one: one.id)
    known = {one.id for one in generations}
    children: dict[str | None, list[Generation]] = {}
    for one in generations:
        children.setdefault(one.parent_id if one.parent_id in known else None, []).append(one)

    def below(parent: str | None, depth: int) -> Iterator[tuple[int, Generation]]:
        for one in children.get(parent, []):
            yield depth, one
            yield from below(one.id, depth + 1)

    return below(None, 0)
