"""The dialect of OhMyGPT, written from the vendor's pages and not from our adapter, so that it checks it.

Sources: the pages of its Midjourney Open API (ohmygptdocs.apifox.cn and ohmygpt-docs.apifox.cn: imagine, action, blend,
describe, query, paged query). The webhook has no documented body: what a public client's receiver reads is a flat task;
every fourth task here is posted in the envelope of the answers instead. `imageS3Url` is nullable: every second has one.
"""

from webhook.sandbox.ohmygpt.routes import OhMyGpt

__all__ = ["OhMyGpt"]
