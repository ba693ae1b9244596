"""The pages under signed links where people decide. The token in the link is the only authority here."""

from webhook.approvals.pages import approval_pages

__all__ = ["approval_pages"]
