"""Checks everything that Darkroom needs. Each check yields findings: one sentence each, with the remedy."""

from tasks.usecases.doctor.checks import check_before_start, diagnose, unanswered
from tasks.usecases.doctor.finding import Diagnosis, Finding, Verdict

__all__ = ["Diagnosis", "Finding", "Verdict", "check_before_start", "diagnose", "unanswered"]
