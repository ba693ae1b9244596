"""Is everything there that Darkroom needs? Each check yields findings: one sentence each, with what to do."""

from tasks.usecases.doctor.checks import examine, examine_broker
from tasks.usecases.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine", "examine_broker"]
