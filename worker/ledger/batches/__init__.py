"""How people steer batches (pause, delayed start, limits), and what that leaves for dispatch."""

from worker.ledger.batches.quotas import FORGOTTEN, Quotas
from worker.ledger.batches.steering import START_DUE, Batches, NewSteering, Restricted, Steering

__all__ = ["FORGOTTEN", "START_DUE", "Batches", "NewSteering", "Quotas", "Restricted", "Steering"]
