"""Approvals: the decisions that steps of recipes wait for."""

from worker.ledger.approvals.approvals import OVERDUE, UNASKED, Approval, Approvals, Decided, WaitingApproval
from worker.ledger.schema import ApprovalState

__all__ = ["OVERDUE", "UNASKED", "Approval", "ApprovalState", "Approvals", "Decided", "WaitingApproval"]
