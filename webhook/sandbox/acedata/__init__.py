"""The dialect of Ace Data Cloud, written from the vendor's pages, not our adapter, so that the two check each other.

Sources: the references and integration guides of the Midjourney APIs (imagine, edits, videos, describe, translate,
seed, shorten, tasks), and docs.acedata.cloud (concepts: responses, async tasks).
"""

from webhook.sandbox.acedata.routes import AceData

__all__ = ["AceData"]
