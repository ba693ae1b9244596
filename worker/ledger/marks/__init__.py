"""Marks: which images people have picked or rejected, without any consequence of their own."""

from worker.ledger.marks.marks import CullingPlace, ImageMark, Marks
from worker.ledger.schema import Mark

__all__ = ["CullingPlace", "ImageMark", "Mark", "Marks"]
