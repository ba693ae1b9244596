"""Marks: which pictures people have picked or rejected, without any consequence of their own."""

from worker.ledger.marks.marks import CullingPlace, Marks, PictureMark
from worker.ledger.schema import Mark

__all__ = ["CullingPlace", "Mark", "Marks", "PictureMark"]
