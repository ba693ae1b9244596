"""A finding of `darkroom doctor`: one sentence with the state and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`numbers`: the counts in the sentence, for programs."""

    check: str
    verdict: Verdict
    message: str
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no finding is a failure; warnings are allowed."""
        return all(one.verdict is not Verdict.FAIL for one in self.findings)
