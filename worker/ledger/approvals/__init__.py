"""Approvals: the decisions that recipe steps wait for."""

from worker.ledger.approvals.approvals import OVERDUE, UNASKED, Approvals, Decided, WaitingApproval
from worker.ledger.approvals.reviewing import ReviewGroup, ReviewPlace
from worker.ledger.approvals.rows import Approval
from worker.ledger.schema import ApprovalState

__all__ = ["OVERDUE", "UNASKED", "Approval", "ApprovalState", "Approvals", "Decided", "ReviewGroup", "ReviewPlace",
           "WaitingApproval"]  # fmt: skip
