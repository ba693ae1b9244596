"""The dialect of OhMyGPT, written from the vendor's pages, not from our adapter, so that the two check each other.

Sources: the pages of its Midjourney Open API (ohmygptdocs.apifox.cn and ohmygpt-docs.apifox.cn: imagine, action, blend,
describe, query, paged query). The webhook's body is not documented: a public client's receiver reads a flat task;
here every fourth task is posted in the envelope of the replies instead. `imageS3Url` is nullable: every second has one.
"""

from webhook.sandbox.ohmygpt.routes import OhMyGpt

__all__ = ["OhMyGpt"]
