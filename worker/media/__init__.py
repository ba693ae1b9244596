"""File inspection: type and completeness, from the bytes themselves."""

from worker.media.content import FileFacts, content_type_of, inspect
from worker.media.decoding import Thumbnail, quadrants, thumbnail
from worker.media.xmp import marked

__all__ = [
    "FileFacts",
    "Thumbnail",
    "content_type_of",
    "inspect",
    "marked",
    "quadrants",
    "thumbnail",
]
