"""`make bench`: measured beside goal, in one run on this machine.

    python -m tests.bench [--only P1,P7] [--generations N] [--json] [--record]

Only ratios within one run say something; the exit code is 1 when one is worse than what must hold.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from tests.bench import (
    api,
    batch_check,
    bulk,
    generations,
    million,
    receiver,
    siege,
    splitting,
    startup,
    thumbnails,
    used,
    verify,
)
from tests.bench.machine import machine
from tests.figures.results import record
from worker.embedded.servers import LOOPBACK
from worker.settings import url_of


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    measured: float
    unit: str
    #: what we want, and what must hold; `at_least` says in which direction
    goal: float
    limit: float
    at_least: bool
    detail: str

    @property
    def holds(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def reached(self) -> bool:
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"holds": self.holds, "reached": self.reached}


def p1() -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        found = receiver.run(database, 3.0)
        detail = f"{found['callbacks_per_second']}/s ÷ {found['null_per_second']}/s, p99 {found['p99_ms']} ms"
        what = f"durable callbacks ÷ null POSTs, {database}"
        yield Row("P1", what, float(str(found["ratio"])), "", 0.6, 0.4, at_least=True, detail=detail)


def p3() -> Iterator[Row]:
    chain = generations.null_chains(1000).cpu
    ours = generations.cpu_per_generation(2000)
    detail = f"{ours * 1000:.2f} ms ÷ {chain * 1000:.2f} ms"
    what = "CPU of a generation ÷ of three null tasks"
    yield Row("P3", what, round(ours / chain, 2), "", 0.75, 1.5, at_least=False, detail=detail)


def p5(count: int) -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        found = million.run(database, count)
        worst = found["worst"]
        assert isinstance(worst, dict)
        detail = f"filled in {found['fill_seconds']} s; " + "; ".join(f"{name} {cost}" for name, cost in worst.items())
        what = f"worst query at {count:,} ÷ its allowance, {database}"
        yield Row("P5", what, float(str(found["badness"])), "", 1, 1, at_least=False, detail=detail)
        what = f"first page of the gallery at {count:,}, by the worst filter, {database}"
        goal, measured, worst_filter = (
            million.GOAL_GALLERY_MS,
            float(str(found["gallery_ms"])),
            str(found["gallery_worst"]),
        )
        yield Row("P5", what, measured, "ms", goal, goal, at_least=False, detail=worst_filter)


def p6() -> Iterator[Row]:
    count, chains_per_second = 5000, generations.null_chains(1000).per_second
    seconds = generations.seconds_for(count)
    detail = f"{count:,} in {seconds:.0f} s; {chains_per_second:.0f} chains of three null tasks per second"
    what = "generations per second, end to end"
    yield Row("P6", what, round(count / seconds), "/s", 180, 90, at_least=True, detail=detail)


def p7() -> Iterator[Row]:
    with machine(os.environ) as running:
        # Until every process is there and has done its first nothing.
        time.sleep(15)
        sizes = {role: size / 1e6 for role, size in running.memory().items()}
        generations.archive(running, 100)
        afterwards = sum(size for role, size in running.memory().items() if role != "API") / 1e6
        used.use(url_of(LOOPBACK, int(os.environ["API_PORT"])), running.services)
        used_size = running.memory()["API"] / 1e6
    api_size = sizes.pop("API")
    detail = ", ".join(f"{role} {size:.0f}" for role, size in sizes.items()) + f"; after 100 images {afterwards:.0f}"
    what = "memory (PSS) of receiver, worker and clock"
    yield Row("P7", what, round(sum(sizes.values())), "MB", 250, 400, at_least=False, detail=detail)
    goal = api.GOAL_MEMORY_MB
    yield Row("P7", "memory (PSS) of the HTTP API", round(api_size), "MB", goal, goal, at_least=False, detail="")
    what = "memory (PSS) of the HTTP API and the console in use"
    yield Row("P7", what, round(used_size), "MB", used.GOAL_MB, used.GOAL_MB, at_least=False, detail="")


def p8() -> Iterator[Row]:
    times = startup.startup_seconds()
    for command, goal, limit in (("help", 150, 300), ("list", 400, 800)):
        milliseconds = times[command] * 1000
        detail = f"{times[command] / times['python']:.1f} times an empty Python"
        what = f"start of `darkroom {'--help' if command == 'help' else command}`"
        yield Row("P8", what, round(milliseconds), "ms", goal, limit, at_least=False, detail=detail)
    measured = round(startup.doctor_seconds() * 1000)
    what = "`darkroom doctor` while a provider never answers"
    yield Row("P8", what, measured, "ms", 5000, 6000, at_least=False, detail="it waits 3.5 s for the provider")


def p9() -> Iterator[Row]:
    found = verify.run()
    ratio = found["seconds"] / found["alone"]
    detail = f"{found['seconds']:.1f} s ÷ {found['alone']:.1f} s, at most {found['memory']:.0f} MB"
    yield Row("P9", "verify 10,000 ÷ their reads alone", round(ratio, 2), "", 2, 3, at_least=False, detail=detail)


def p10() -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        found = siege.run(database, 4.0)
        missing = f"{found['not_kept']} refused, {found['acknowledged_but_missing']} of {found['acknowledged']} lost"
        for figure, goal in (("p99", siege.GOAL_P99_MS), ("max", siege.GOAL_MAX_MS)):
            detail = f"p99 {found['p99_ms']} ms ÷ {found['quiet_p99_ms']} ms quiet = {found['ratio']}; {missing}"
            what = f"callback under attack, {figure}, {database}"
            measured = float(str(found[f"{figure}_ms"]))
            yield Row("P10", what, measured, "ms", goal, goal, at_least=False, detail=detail)


def p11() -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        found = bulk.run(database)
        rounds = found["rounds"]
        assert isinstance(rounds, dict)
        detail = ", ".join(f"{name} {seconds} s" for name, (seconds, *_) in rounds.items())
        for figure, goal, what in (
            ("callback_ms", bulk.GOAL_CALLBACK_MS, "callback while 50,000 are decided, max"),
            ("hold_ms", bulk.GOAL_HOLD_MS[database], "transaction that decides, max"),
        ):
            measured, more = float(str(found[figure])), f"{detail}; {found['refused']} callbacks refused"
            yield Row("P11", f"{what}, {database}", measured, "ms", goal, goal, at_least=False, detail=more)


def p14() -> Iterator[Row]:
    for kind in ("PNG", "JPEG"):
        found = thumbnails.run(kind)
        detail = (
            f"{found['ours'] * 1000:.1f} ms ÷ {found['pillow'] * 1000:.1f} ms for {thumbnails.SIZE}² of "
            f"{found['megabytes']:.1f} MB"
        )
        what = f"CPU of a thumbnail ÷ Pillow alone, {kind}"
        yield Row("P14", what, round(found["ratio"], 2), "", 1.3, 1.3, at_least=False, detail=detail)


def p15() -> Iterator[Row]:
    found = batch_check.run_alone()
    seconds, memory = float(str(found["seconds"])), float(str(found["memory_mb"]))
    detail = f"{found['cpu_seconds']} s of CPU"
    goal = batch_check.GOAL_SECONDS
    yield Row("P15", "check of 50,000 rows", seconds, "s", goal, goal, at_least=False, detail=detail)
    goal = batch_check.GOAL_MB
    yield Row("P15", "memory (RSS) of a check of 50,000 rows", memory, "MB", goal, goal, at_least=False, detail="")


def p12() -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        found = api.run(database, 10.0)
        detail = f"p50 {found['p50_ms']} ms, {found['refused']} refused; API then {found['memory_mb']} MB"
        goal = api.GOAL_P99_MS
        what = f"GET of a generation, 64 waiters and 200 clients, p99, {database}"
        yield Row("P12", what, float(str(found["p99_ms"])), "ms", goal, goal, at_least=False, detail=detail)
        detail = f"{found['steady_requests']} requests; slow {found['machine_slow_percent']} % of the time"
        what = f"of those due while the machine kept its speed, p99, {database}"
        yield Row("P12", what, float(str(found["steady_p99_ms"])), "ms", goal, goal, at_least=False, detail=detail)
        what, measured = f"callback meanwhile, p99, {database}", float(str(found["callback_p99_ms"]))
        detail = f"{found['callbacks_not_kept']} refused"
        yield Row("P12", what, measured, "ms", goal, goal, at_least=False, detail=detail)


def p16() -> Iterator[Row]:
    found = splitting.run()
    detail = f"{found['ours'] * 1000:.0f} ms ÷ {found['pillow'] * 1000:.0f} ms"
    what = f"quadrants of {splitting.SIZE}² ÷ Pillow alone"
    yield Row("P16", what, round(found["ratio"], 2), "", 1.2, 1.2, at_least=False, detail=detail)


BENCHES: dict[str, Callable[..., Iterator[Row]]] = {
    "P1": p1,
    "P3": p3,
    "P5": p5,
    "P6": p6,
    "P7": p7,
    "P8": p8,
    "P9": p9,
    "P10": p10,
    "P11": p11,
    "P12": p12,
    "P14": p14,
    "P15": p15,
    "P16": p16,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measured ratios beside their goals.")
    parser.add_argument("--only", default=",".join(BENCHES), help="some of them, separated by commas")
    parser.add_argument("--generations", type=int, default=million.COUNT, help="of the large ledger of P5")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--record", action="store_true", help="keep the rows in tests/figures/results.json")
    arguments = parser.parse_args()
    unknown = set(arguments.only.split(",")) - BENCHES.keys()
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    rows = []
    for name in arguments.only.split(","):
        for row in BENCHES[name](*([arguments.generations] if name == "P5" else [])):
            rows.append(row)
            print(_line(row), file=sys.stderr if arguments.json else sys.stdout, flush=True)
    found = [row.as_json() for row in rows]
    if arguments.record:
        # All rows of a benchmark, since a renamed one would otherwise stay beside its successor.
        record("bench", [row | {"command": "make bench"} for row in found], replaces=("name", "command"))
    if arguments.json:
        print(json.dumps(found, indent=1))
    return 0 if all(row.holds for row in rows) else 1


def _line(row: Row) -> str:
    sign = "≥" if row.at_least else "≤"
    verdict = "goal reached" if row.reached else "holds" if row.holds else "TOO BAD"
    figure = f"{row.measured:>6g} {row.unit:2}  goal {sign} {row.goal:g}"
    return f"{row.name}  {row.what:44} {figure}  {verdict:12}  ({row.detail})"


if __name__ == "__main__":
    sys.exit(main())
