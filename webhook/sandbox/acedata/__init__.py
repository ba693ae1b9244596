"""The dialect of Ace Data Cloud, written from the vendor's pages and not from our adapter, so that it checks it.

Sources: the references and integration guides of the Midjourney APIs (imagine, edits, videos, describe, translate,
seed, shorten, tasks), and docs.acedata.cloud (concepts: responses, async tasks).
"""

from webhook.sandbox.acedata.routes import AceData

__all__ = ["AceData"]
