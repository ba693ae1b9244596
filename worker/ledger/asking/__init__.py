"""Asking for decisions and withdrawing the question: what other rooms do with approvals."""

from worker.ledger.asking.asking import APPROVALS, NewApproval, ask, withdraw

__all__ = ["APPROVALS", "NewApproval", "ask", "withdraw"]
