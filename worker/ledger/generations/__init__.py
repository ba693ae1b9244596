"""Generations: creation, control, follow-ups, import, deletion, queries."""

from worker.ledger.generations.counting import Counting
from worker.ledger.generations.creation import NewGeneration
from worker.ledger.generations.finding import Batch, dedupe_of, short_id
from worker.ledger.generations.follow_ups import DUE, LONGEST_WAIT, RefusedFollowUp
from worker.ledger.generations.generations import Generations
from worker.ledger.generations.queries import Move, Story
from worker.ledger.generations.results import BatchResult, ResultColumns
from worker.ledger.generations.task_import import EARLIER, LATER, Known, Orphan, Place, Placed, WithoutTask
from worker.ledger.lineage import dedupe_of_follow_up

__all__ = [
    "DUE",
    "EARLIER",
    "LATER",
    "LONGEST_WAIT",
    "Batch",
    "BatchResult",
    "Counting",
    "Generations",
    "Known",
    "Move",
    "NewGeneration",
    "Orphan",
    "Place",
    "Placed",
    "RefusedFollowUp",
    "ResultColumns",
    "Story",
    "WithoutTask",
    "dedupe_of",
    "dedupe_of_follow_up",
    "short_id",
]
