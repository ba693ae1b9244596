"""The dialect of Ace Data Cloud, written from the vendor's pages and not from our adapter, so that it checks it.

Sources: the reference of the Midjourney Imagine API, its integration guide, the tasks guide, and docs.acedata.cloud
(concepts: responses, async tasks).
"""
