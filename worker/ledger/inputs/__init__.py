"""Input files: users' images in the bucket that options of generations refer to."""

from worker.ledger.inputs.inputs import InputFile, InputObject, Inputs
from worker.ledger.inputs.uses import write_uses

__all__ = ["InputFile", "InputObject", "Inputs", "write_uses"]
