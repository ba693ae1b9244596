"""The fields that only Kie keeps for a submission."""

from dataclasses import dataclass

from webhook.sandbox.task import Task

MP4 = "video/mp4"


@dataclass(slots=True, eq=False, kw_only=True)
class KieTask(Task):
    #: whether `record-info` was asked for it; the first query does not find an unfinished task
    asked: bool = False

    @property
    def is_video(self) -> bool:
        return self.files[0].mimetype == MP4
