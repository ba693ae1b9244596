"""Generations: creation, control, follow-ups, import, deletion, queries."""

from worker.ledger.asking import NewApproval
from worker.ledger.batch_sums import BatchMoney
from worker.ledger.generations.batch_facts import BatchFacts, Failure
from worker.ledger.generations.boards import EndedLately, FailedOf
from worker.ledger.generations.control import Retried
from worker.ledger.generations.counting import Counting
from worker.ledger.generations.create import Created
from worker.ledger.generations.file_batches import CHOICE, FileBatch, KnownRow, RowsTaken, Written
from worker.ledger.generations.finding import Batch, Keyed, dedupe_of, short_id
from worker.ledger.generations.follow_ups import (
    DUE,
    LONGEST_WAIT,
    RECIPES_DUE,
    DueSteps,
    Followed,
    RefusedFollowUp,
    create_within,
)
from worker.ledger.generations.gallery import MOST_LOOKED_AT, Looked, Wanted
from worker.ledger.generations.generations import Generations
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.generations.queries import Move, Story
from worker.ledger.generations.results import BatchResult, ResultColumns
from worker.ledger.generations.snapshots import FollowedBy, Snapshot
from worker.ledger.generations.task_import import EARLIER, LATER, Known, Orphan, Place, Placed, WithoutTask
from worker.ledger.generations.unfinished import BeingWritten
from worker.ledger.lineage import dedupe_of_follow_up, dedupe_of_step

__all__ = [
    "CHOICE",
    "DUE",
    "EARLIER",
    "LATER",
    "LONGEST_WAIT",
    "MOST_LOOKED_AT",
    "RECIPES_DUE",
    "Batch",
    "BatchFacts",
    "BatchMoney",
    "BatchResult",
    "BeingWritten",
    "Counting",
    "Created",
    "DueSteps",
    "EndedLately",
    "FailedOf",
    "Failure",
    "FileBatch",
    "Followed",
    "FollowedBy",
    "Generations",
    "Keyed",
    "Known",
    "KnownRow",
    "Looked",
    "Move",
    "NewApproval",
    "NewGeneration",
    "Orphan",
    "Place",
    "Placed",
    "RefusedFollowUp",
    "ResultColumns",
    "Retried",
    "RowsTaken",
    "Snapshot",
    "Story",
    "Wanted",
    "WithoutTask",
    "Written",
    "create_within",
    "dedupe_of",
    "dedupe_of_follow_up",
    "dedupe_of_step",
    "short_id",
]
