"""The download of a batch's results into a folder, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.secrets import redact

if TYPE_CHECKING:
    from tasks.usecases.batches.download import Downloaded


def of_download(done: "Downloaded") -> dict[str, Any]:
    """`problems`: files that were not written."""
    return {
        "batch": done.batch,
        "batch_id": done.batch_id,
        "folder": str(done.folder),
        "files": done.counts.total(),
        "downloaded": done.counts["downloaded"],
        "present": done.counts["present"],
        "bytes": done.bytes,
        "problems": [
            {
                "status": one.status,
                "file": one.wanted.name,
                "object_key": one.wanted.asset.object_key,
                "why": redact(one.why),
            }
            for one in done.problems
        ],
        "under_way": done.open,
    }
