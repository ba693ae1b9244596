"""The pages under signed links on which people decide. The token of the link is the only authority here."""

from webhook.approvals.pages import approval_pages

__all__ = ["approval_pages"]
