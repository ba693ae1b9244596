"""What a file is: told by its own bytes, and whole to the last one."""

from worker.media.content import FileFacts, content_type_of, inspect
from worker.media.xmp import marked

__all__ = [
    "FileFacts",
    "content_type_of",
    "inspect",
    "marked",
]
