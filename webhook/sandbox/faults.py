"""The fault knobs: what a provider, a network or a link may do wrong, each with a probability between 0 and 1.

A prompt turns a knob on for its own generation with the word `sandbox:<knob>`; follow-ups do not inherit it.
Statuses and bodies are told here as Ace Data Cloud has them; each dialect says them in its own words.
"""

import random
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

#: the submission is refused: nothing is accepted and nothing is charged
REFUSALS: Mapping[str, str] = {
    "too_many": "429 with Retry-After: 1; by word only for the first submission of that prompt",
    "unavailable": "503; by word only for the first submission of that prompt",
    "error_before": "500, and nothing was accepted",
    "reject": "403 forbidden, as moderation answers",
}

#: the submission is accepted and charged, it runs and calls back, but its answer goes wrong; at most one of them
ANSWERS: Mapping[str, str] = {
    "error_after": "500, although it was accepted",
    "hang": "no answer; the connection is held for 60 s and then reset",
    "reset": "no answer; the connection is reset",
    "garbled": "200 with a body that is not JSON",
    "no_task_id": '200 with {"success": true} and nothing else',
}

#: what happens to an accepted generation later
COURSE: Mapping[str, str] = {
    "drop": "no callback is ever sent, of progress neither",
    "duplicate": "the callback is sent three times at once",
    "delay": "it takes five times as long, and at least 1 s",
    "reorder": "the progress callbacks are sent, but after the final one",
    "early": "the callback is sent and answered before the submission is answered",
    "fail": "it fails, with a refund",
    "dead_links": "the links that are given out first are dead; later task queries give working ones",
    "dead_links_forever": "all links are dead, also those of later task queries",
}

#: drawn anew for each download, so that a second try may work; by word for all downloads of that generation
DOWNLOADS: Mapping[str, str] = {
    "corrupt": "some bits of the file are flipped",
    "truncated": "the connection closes before Content-Length is reached",
    "short": "half of the file with a Content-Length that fits",
    "html": "an HTML page with status 200 and the type of the file",
    "slow": "the file drips for 5 s",
}

KNOBS: Mapping[str, str] = {**REFUSALS, **ANSWERS, **COURSE, **DOWNLOADS}

_WORD = re.compile(r"sandbox:(\w+)")


class FaultsInvalid(ValueError):
    """What was asked is not a set of knobs; the text is one sentence that says why."""


def check_faults(faults: Any) -> dict[str, float]:
    """Return the knobs as numbers; raises FaultsInvalid."""
    if not isinstance(faults, Mapping):
        raise FaultsInvalid('faults are a JSON object of knobs and probabilities, like {"drop": 0.1}')
    for knob, chance in faults.items():
        _check_knob(knob)
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            raise FaultsInvalid(f"the probability of {knob!r} must be a number from 0 to 1, not {chance!r}")
    return {knob: float(chance) for knob, chance in faults.items()}


def fault_words(prompt: str) -> frozenset[str]:
    """The knobs that this prompt turns on; raises FaultsInvalid for a word that is no knob."""
    words = frozenset(_WORD.findall(prompt))
    for word in sorted(words):
        _check_knob(word)
    return words


def without_fault_words(prompt: str) -> str:
    return " ".join(_WORD.sub(" ", prompt).split())


def _check_knob(knob: object) -> None:
    if knob not in KNOBS:
        raise FaultsInvalid(f"there is no knob {knob!r}; the knobs are {', '.join(KNOBS)}")


class Faults:
    """The knobs as they are set now. One seeded source of chance, so that a run can be repeated."""

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
        """The knob that refuses this submission, if any."""
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
