"""Asking for decisions, and taking the question back: what other rooms do with approvals."""

from worker.ledger.asking.asking import APPROVALS, NewApproval, ask, withdraw

__all__ = ["APPROVALS", "NewApproval", "ask", "withdraw"]
