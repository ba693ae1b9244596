"""The fields that only Ace Data Cloud keeps for a submission."""

import uuid
from dataclasses import dataclass, field

from webhook.sandbox.task import Task


@dataclass(slots=True, eq=False, kw_only=True)
class AceTask(Task):
    """`preview_ids` are the image ids of the stages; each stage is a Discord message of its own."""

    #: the last part of the endpoint's path
    type: str
    trace_id: str
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    image_id: str = ""
    video_id: str = ""
    preview_ids: dict[int, str] = field(default_factory=dict)
