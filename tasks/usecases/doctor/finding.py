"""What `darkroom doctor` has found: one sentence that says how it is, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`numbers`: what the sentence counts, for programs."""

    check: str
    verdict: Verdict
    message: str
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Nothing fails; a warning is no failure."""
        return all(one.verdict is not Verdict.FAIL for one in self.findings)
