"""Generations: creation, control, follow-ups, import, deletion, queries."""

from worker.ledger.generations.batch_facts import BatchFacts, BatchMoney, Failure
from worker.ledger.generations.counting import Counting
from worker.ledger.generations.file_batches import CHOICE, FileBatch, KnownRow, RowsTaken, Written
from worker.ledger.generations.finding import Batch, Keyed, dedupe_of, short_id
from worker.ledger.generations.follow_ups import DUE, LONGEST_WAIT, RefusedFollowUp
from worker.ledger.generations.generations import Generations
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.generations.queries import Move, Story
from worker.ledger.generations.results import BatchResult, ResultColumns
from worker.ledger.generations.task_import import EARLIER, LATER, Known, Orphan, Place, Placed, WithoutTask
from worker.ledger.generations.unfinished import BeingWritten
from worker.ledger.lineage import dedupe_of_follow_up

__all__ = [
    "CHOICE",
    "DUE",
    "EARLIER",
    "LATER",
    "LONGEST_WAIT",
    "Batch",
    "BatchFacts",
    "BatchMoney",
    "BatchResult",
    "BeingWritten",
    "Counting",
    "Failure",
    "FileBatch",
    "Generations",
    "Keyed",
    "Known",
    "KnownRow",
    "Move",
    "NewGeneration",
    "Orphan",
    "Place",
    "Placed",
    "RefusedFollowUp",
    "ResultColumns",
    "RowsTaken",
    "Story",
    "WithoutTask",
    "Written",
    "dedupe_of",
    "dedupe_of_follow_up",
    "short_id",
]
