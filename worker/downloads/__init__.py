"""Downloads of results: bounded, resumable, and in time, before links expire."""

from worker.downloads.download import Download, Downloader, Limits
from worker.downloads.link_expiry import deadline_of, is_told
from worker.downloads.transfer import MEMORY_PART

__all__ = [
    "MEMORY_PART",
    "Download",
    "Downloader",
    "Limits",
    "deadline_of",
    "is_told",
]
