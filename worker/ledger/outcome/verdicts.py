"""The verdicts on callbacks, which are their states."""

from worker.generation import VERDICT_MOVES
from worker.ledger.moves import Machine
from worker.ledger.schema import callbacks

VERDICTS = Machine(callbacks.c.verdict, VERDICT_MOVES)
