"""The paths of Ace Data Cloud's result files."""

import re
from collections.abc import Mapping

from webhook.sandbox.pictures import Picture, quarters, takes
from webhook.sandbox.task import File


def image_files(folder: str, job_id: str, picture: Picture, *, split: bool) -> tuple[File, ...]:
    """The grid or the single image, then its quarters if `split` is set."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", picture.prompt)[:60].strip("_")
    parts = quarters(picture) if split else ()
    return (
        File(path=f"{folder}/sandbox_{words}_{job_id}.png", picture=picture),
        *(File(path=f"{folder}/{job_id}_0_{number}.png", picture=part, share=0.5) for number, part in enumerate(parts)),
    )


def edited_files(folder: str, job_id: str, picture: Picture, *, split: bool) -> tuple[File, ...]:
    """As `image_files`, but the quarters have bare links at Midjourney's own host."""
    whole, *parts = image_files(folder, job_id, picture, split=split)
    return (
        whole,
        *(
            File(path=f"/cdn/{job_id}/0_{number}.png", picture=part.picture, share=part.share, signed=False)
            for number, part in enumerate(parts)
        ),
    )


def video_files(video_id: str, job_id: str, picture: Picture, resolution: str) -> tuple[File, ...]:
    """Four videos and their cover."""
    share = 1 / 3 if resolution == "480p" else 1 / 2
    starts = takes(picture, 4)
    return (
        *(
            File(path=f"/video/{job_id}/0_{number}.mp4", picture=take, mimetype="video/mp4", share=share, signed=False)
            for number, take in enumerate(starts)
        ),
        File(path=f"/cdn/upload_{video_id}.png", picture=starts[0], share=share, signed=False),
    )


def previews(channel: str, job_id: str, picture: Picture, ids: Mapping[int, str]) -> tuple[File, ...]:
    """`ids` are the message ids by progress."""
    return tuple(
        File(
            path=f"{channel}/{message_id}/{job_id}_grid_0.webp",
            picture=picture,
            mimetype="image/webp",
            share=0.25,
            progress=progress,
        )
        for progress, message_id in ids.items()
    )
