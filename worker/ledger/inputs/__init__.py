"""Input files: images of users in the bucket, which options of generations refer to."""

from worker.ledger.inputs.inputs import InputFile, InputObject, Inputs
from worker.ledger.inputs.uses import write_uses

__all__ = ["InputFile", "InputObject", "Inputs", "write_uses"]
