"""The fault knobs: faults of a provider, a network or a link, each with a probability between 0 and 1.

A prompt turns a knob on for its own generation with the word `sandbox:<knob>`; follow-ups do not inherit it.
The statuses and bodies below are Ace Data Cloud's; each dialect uses its own.
"""

import random
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

#: the provider refuses the submission: nothing is accepted or charged
REFUSALS: Mapping[str, str] = {
    "too_many": "429 with Retry-After: 1; by word only for the first submission of that prompt",
    "unavailable": "503; by word only for the first submission of that prompt",
    "error_before": "500, and nothing was accepted",
    "reject": "403 forbidden, as moderation answers",
}

#: the submission is accepted, charged, runs and calls back, but its reply is faulty; at most one of these
ANSWERS: Mapping[str, str] = {
    "error_after": "500, although it was accepted",
    "hang": "no reply; the connection stays open for 60 s and is then reset",
    "reset": "no reply; the connection is reset",
    "garbled": "200 with a body that is not JSON",
    "no_task_id": '200 with {"success": true} and nothing else',
}

#: faults of an accepted generation, later on
COURSE: Mapping[str, str] = {
    "drop": "no callback is ever sent, not even progress",
    "duplicate": "the callback is sent three times at once",
    "delay": "it takes five times as long, and at least 1 s",
    "reorder": "the progress callbacks are sent, but after the final one",
    "early": "the callback is sent and acknowledged before the reply to the submission",
    "fail": "it fails, with a refund",
    "dead_links": "the first links are dead; later task queries return working ones",
    "dead_links_forever": "all links are dead, including the ones from later task queries",
}

#: drawn again for each download, so that a retry may work; as a word in the prompt: every download of that generation
DOWNLOADS: Mapping[str, str] = {
    "corrupt": "some bits of the file are flipped",
    "truncated": "the connection closes before Content-Length is reached",
    "short": "half of the file with a Content-Length that fits",
    "html": "an HTML page with status 200 and the file's content type",
    "slow": "the file arrives in small pieces over 5 s",
}

KNOBS: Mapping[str, str] = {**REFUSALS, **ANSWERS, **COURSE, **DOWNLOADS}

_WORD = re.compile(r"sandbox:(\w+)")


class FaultsInvalid(ValueError):
    """The given knobs are invalid; the text is one sentence that explains why."""


def check_faults(faults: Any) -> dict[str, float]:
    """Return the probabilities as floats; raises FaultsInvalid."""
    if not isinstance(faults, Mapping):
        raise FaultsInvalid('faults must be a JSON object of knobs and probabilities, like {"drop": 0.1}')
    for knob, chance in faults.items():
        _check_knob(knob)
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            raise FaultsInvalid(f"the probability of {knob!r} must be a number from 0 to 1, not {chance!r}")
    return {knob: float(chance) for knob, chance in faults.items()}


def fault_words(prompt: str) -> frozenset[str]:
    """Return the knobs that this prompt turns on; raises FaultsInvalid for an unknown knob."""
    words = frozenset(_WORD.findall(prompt))
    for word in sorted(words):
        _check_knob(word)
    return words


def without_fault_words(prompt: str) -> str:
    return " ".join(_WORD.sub(" ", prompt).split())


def _check_knob(knob: object) -> None:
    if knob not in KNOBS:
        raise FaultsInvalid(f"unknown knob {knob!r}; the knobs are {', '.join(KNOBS)}")


class Faults:
    """The current probabilities, with one seeded random generator, so that a run can be repeated."""

    def __init__(self, faults: Any, seed: int) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._chances = check_faults(faults)
        self._refused: set[tuple[str, str]] = set()

    def replace(self, faults: Any) -> None:
        chances = check_faults(faults)
        with self._lock:
            self._chances = chances

    def chances(self) -> dict[str, float]:
        with self._lock:
            return dict(self._chances)

    def draw(self, knobs: Iterable[str]) -> frozenset[str]:
        with self._lock:
            return frozenset(knob for knob in knobs if self._chance.random() < self._chances.get(knob, 0))

    def refusal(self, prompt: str, words: frozenset[str]) -> str | None:
        """Return the knob that refuses this submission, if any."""
        drawn = self.draw(REFUSALS)
        for knob in REFUSALS:
            if knob in drawn:
                return knob
            if knob in words and not (knob in {"too_many", "unavailable"} and self._was_refused(knob, prompt)):
                return knob
        return None

    def _was_refused(self, knob: str, prompt: str) -> bool:
        with self._lock:
            before = (knob, prompt) in self._refused
            self._refused.add((knob, prompt))
            return before
