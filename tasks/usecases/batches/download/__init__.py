"""The results of a batch as files in a folder, named by the user's keys."""

from tasks.usecases.batches.download.download import Downloaded, DownloadRequest, download
from tasks.usecases.batches.download.fetch import Fetched, Status
from tasks.usecases.batches.download.names import DEFAULT_NAME, FIELDS, folded, plain_name

__all__ = [
    "DEFAULT_NAME",
    "FIELDS",
    "DownloadRequest",
    "Downloaded",
    "Fetched",
    "Status",
    "download",
    "folded",
    "plain_name",
]
