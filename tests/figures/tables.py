"""Tables of `results.json` in Markdown, and where they stand: each between two comments that name it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.report import ROWS
from tests.figures.results import Entry

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PERFORMANCE = ROOT / "deploy" / "PERFORMANCE.md"

Results = Mapping[str, Sequence[Entry]]
Rows = Sequence[Sequence[str]]

#: what the README says of a benchmark; where there are two, SQLite comes first
_HEADLINES: Sequence[tuple[str, str, Sequence[str]]] = (
    (
        "Callbacks stored per second ÷ empty POSTs answered by the same server, SQLite / PostgreSQL",
        "P1",
        ("durable callbacks ÷ null POSTs, sqlite", "durable callbacks ÷ null POSTs, postgresql"),
    ),
    (
        "p99 of a callback while the broker hangs and 40 clients send byte by byte, SQLite / PostgreSQL",
        "P10",
        ("callback under attack, p99, sqlite", "callback under attack, p99, postgresql"),
    ),
    ("CPU per generation ÷ three empty Celery tasks", "P3", ("CPU of a generation ÷ of three null tasks",)),
    (
        "Slowest query at 1,000,000 generations ÷ its allowance, SQLite / PostgreSQL",
        "P5",
        (
            "worst query at 1,000,000 ÷ its allowance, sqlite",
            "worst query at 1,000,000 ÷ its allowance, postgresql",
        ),
    ),
    ("Memory of receiver, worker and clock, idle", "P7", ("memory (PSS) of receiver, worker and clock",)),
    ("Start of `darkroom list`", "P8", ("start of `darkroom list`",)),
    ("`darkroom verify` of 10,000 objects ÷ reading them", "P9", ("verify 10,000 ÷ their reads alone",)),
)
#: the run that the README tells of
_WHOLE_RUN = {"generations": 1000, "faults": 150, "kills_only": False, "naive": True}
_CHAOS_FACTS = {**ROWS, "seconds": "seconds in all"}
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def tables(results: Results) -> Mapping[Path, Mapping[str, str]]:
    """For each document its tables by name. KeyError names a figure that is missing in the results."""
    return {
        README: {"figures": table(("", "measured", "goal", ""), [_chaos_headline(results), *_headlines(results)])},
        PERFORMANCE: {
            "bench": table(("", "", "measured", "goal", "", "details", "run"), _bench_rows(results)),
            "chaos": "\n\n".join(_chaos_runs(results)),
            "commands": table(("", "measured", "goal", "", "details", "command"), _command_rows(results)),
        },
    }


def filled(text: str, contents: Mapping[str, str], command: str = "make readme-figures") -> str:
    """`text` with each of `contents` between its two comments. ValueError names one that has no place there."""
    for name, content in contents.items():
        place = re.compile(rf"(<!-- {name}: made by `{command}` -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = place.subn(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"there are {found} places for the table {name}; there must be one")
    return text


def table(head: Sequence[str], rows: Rows) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _headlines(results: Results) -> Rows:
    by_name = {(entry["name"], entry["what"]): entry for entry in results["bench"]}
    rows = []
    for title, name, whats in _HEADLINES:
        entries = [by_name[name, what] for what in whats]
        measured = " / ".join(_measured(entry) for entry in entries)
        reached = all(entry["reached"] for entry in entries)
        rows.append((title, measured, _goal(entries[0]), _verdict(reached=reached)))
    return rows


def _chaos_headline(results: Results) -> Sequence[str]:
    entries = [_whole_run(results, database) for database in _DATABASES]
    faults = entries[0]["asked"]["faults"]

    def told(one: Any) -> str:
        return f"{one['paid_twice']} and {one['lost_generations']}"

    ours, naive = (" / ".join(map(told, some)) for some in (entries, [entry["naive"] for entry in entries]))
    return (
        f"Paid twice, and lost, of 1,000 generations under {faults} faults, SQLite / PostgreSQL",
        f"{ours} (a naive Celery program beside it: {naive})",
        "0",
        _verdict(reached=all(entry["holds"] for entry in entries)),
    )


def _whole_run(results: Results, database: str) -> Entry:
    for entry in results["chaos"]:
        if entry["database"] == database and entry["asked"] == _WHOLE_RUN:
            return entry
    raise KeyError(f"chaos on {database}: {_WHOLE_RUN}")


def _bench_rows(results: Results) -> Rows:
    return [
        (
            str(entry["name"]),
            _cell(entry["what"]),
            _measured(entry),
            _goal(entry),
            _verdict(reached=entry["reached"]),
            _cell(entry["detail"]),
            _run(entry),
        )
        for entry in results["bench"]
    ]


def _chaos_runs(results: Results) -> Sequence[str]:
    """A table for each kind of run: the databases beside each other, each with the naive program of its run."""
    kinds: dict[str, list[Entry]] = {}
    for entry in results["chaos"]:
        asked = entry["asked"]
        flags = f"--generations {asked['generations']} --faults {asked['faults']} --seed {entry['seed']}"
        more = " --kills-only" if asked["kills_only"] else "" if asked["naive"] else " --skip-naive"
        kinds.setdefault(flags + more, []).append(entry)
    return [
        f'`make chaos CHAOS_FLAGS="{flags}"` ({_run(entries[0])})\n\n{_chaos_table(entries)}'
        for flags, entries in kinds.items()
    ]


def _chaos_table(entries: Sequence[Entry]) -> str:
    columns = []
    for entry in entries:
        columns.append((f"Darkroom, {_DATABASES[entry['database']]}", entry))
        if "naive" in entry:
            columns.append(("naive, beside it", entry["naive"]))
    rows = [
        (label.strip(), *(_number(facts.get(name)) for _, facts in columns))
        for name, label in _CHAOS_FACTS.items()
        if any(name in facts for _, facts in columns)
    ]
    return table(("", *(title for title, _ in columns)), rows)


def _command_rows(results: Results) -> Rows:
    return [
        (
            _cell(entry["what"]),
            _measured(entry),
            "" if entry["goal"] is None else _goal(entry),
            "" if entry["goal"] is None else _verdict(reached=entry["measured"] <= entry["goal"]),
            _cell(entry["detail"]),
            f"`{entry['command']}` ({_run(entry)})",
        )
        for entry in results["by_hand"]
    ]


def _measured(entry: Entry) -> str:
    if entry["measured"] is None:
        return f"within {entry['goal']:g}"
    return f"{entry['measured']:,g} {entry['unit']}".strip()


def _goal(entry: Entry) -> str:
    return f"{'≥' if entry.get('at_least') else '≤'} {entry['goal']:,g} {entry['unit']}".strip()


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "**missed**"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,g}"


def _run(entry: Entry) -> str:
    facts = (entry["date"], entry.get("commit"), entry["machine"], f"Python {entry['python']}", entry.get("note"))
    return ", ".join(fact for fact in facts if fact)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
