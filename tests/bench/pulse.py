"""The moments when the machine itself is slow: a virtual one may lose its processors for 60 ms, and tells nobody.

    python -m tests.bench.pulse [--seconds N]

A process of its own does the same small work all the time. Where that takes three times as long as usual in CPU time,
which waiting for others does not count in, nothing that runs there can be measured.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection

#: seconds between two beats, and additions of one: 3 % of a processor
_EVERY = 0.005
_ADDITIONS = 3_000
_SLOW = 3.0
#: seconds around a slow beat whose requests are not counted, whatever became of them
_AROUND = 0.05


@dataclass
class Pulse:
    """`slow`: from when to when, by `time.perf_counter`, which all processes of a machine share; known at the end."""

    seconds: float = 0.0
    slow: list[tuple[float, float]] = field(default_factory=list)

    @property
    def slow_share(self) -> float:
        return sum(end - begin for begin, end in self.slow) / self.seconds

    def is_steady(self, at: float) -> bool:
        return not any(begin <= at <= end for begin, end in self.slow)


@contextmanager
def pulse() -> Iterator[Pulse]:
    """Watch the machine for as long as the block runs."""
    found = Pulse()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_beat, args=(theirs,), daemon=True)
    process.start()
    ours.recv()
    try:
        yield found
        ours.send(None)
        beats: list[tuple[float, float]] = ours.recv()
    finally:
        process.kill()
        process.join()
    usual = statistics.median(cost for _, cost in beats)
    found.seconds = beats[-1][0] - beats[0][0]
    found.slow = list(_joined(at for at, cost in beats if cost > _SLOW * usual))


def _beat(parent: Connection) -> None:
    parent.send(None)
    beats = []
    while not parent.poll(_EVERY):
        before = time.thread_time()
        for _ in range(_ADDITIONS):
            pass
        beats.append((time.perf_counter(), time.thread_time() - before))
    parent.send(beats)


def _joined(beats: Iterator[float]) -> Iterator[tuple[float, float]]:
    spans = [(at - _AROUND, at + _AROUND) for at in beats]
    if not spans:
        return
    begin = spans[0][0]
    for (_, end), (following, _) in pairwise([*spans, (float("inf"), 0.0)]):
        if following > end:
            yield begin, end
            begin = following


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of the time the machine itself is slow.")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with pulse() as found:
        time.sleep(arguments.seconds)
    print(f"slow {found.slow_share:.1%} of {found.seconds:.1f} s, in {len(found.slow)} spells")


if __name__ == "__main__":
    main()
