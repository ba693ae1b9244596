"""Marks: which images people have picked or rejected. A mark has no effect of its own."""

from worker.ledger.marks.marks import CullingPlace, ImageMark, Marks
from worker.ledger.schema import Mark

__all__ = ["CullingPlace", "ImageMark", "Mark", "Marks"]
