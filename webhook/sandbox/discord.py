"""What the providers that operate Midjourney's Discord bot have in common.

Custom ids, emojis and labels are Discord's; statuses, progress and failure reasons are midjourney-proxy's
(novicezk/midjourney-proxy and trueai-org/midjourney-proxy), which OhMyGPT and the relays use too.
"""

import re
import uuid
from dataclasses import dataclass

from webhook.sandbox.engine import Engine
from webhook.sandbox.pictures import Picture, is_grid
from webhook.sandbox.task import Failure, File, Task

#: the percentages reported before the end; 0 means that Discord has accepted it
STAGES = (0, 35, 75)
FAILURES = (
    Failure("FAILURE", "[Invalid parameter] Unrecognized argument(s): `-c`, `x`"),
    Failure("FAILURE", "[Internal Server Error] fetch failed"),
)
#: the reply of /describe to every image
DESCRIPTION = "\n\n".join(
    f"{number}\ufe0f\u20e3 {words} --ar 1:1"
    for number, words in enumerate(
        (
            "a red fox in tall grass, golden hour, 35mm photograph",
            "watercolour of a fox at the edge of a wood, soft light",
            "a fox looking over its shoulder, flat illustration, warm palette",
            "an autumn meadow with a small fox, wide view, film grain",
        ),
        1,
    )
)

_DATA_LINK = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=-]+", re.ASCII)
_GRID = (
    *((f"upscale{number}", f"MJ::JOB::upsample::{number}::{{}}", "", f"U{number}") for number in (1, 2, 3, 4)),
    ("reroll", "MJ::JOB::reroll::0::{}::SOLO", "🔄", ""),
    *((f"variation{number}", f"MJ::JOB::variation::{number}::{{}}", "", f"V{number}") for number in (1, 2, 3, 4)),
)
_SINGLE = (
    ("upscale_subtle", "MJ::JOB::upsample_v6_2x_subtle::1::{}::SOLO", "upscale_1", "Upscale (Subtle)"),
    ("upscale_creative", "MJ::JOB::upsample_v6_2x_creative::1::{}::SOLO", "upscale_1", "Upscale (Creative)"),
    ("variation_subtle", "MJ::JOB::low_variation::1::{}::SOLO", "🪄", "Vary (Subtle)"),
    ("variation_strong", "MJ::JOB::high_variation::1::{}::SOLO", "🪄", "Vary (Strong)"),
    ("variation_region", "MJ::Inpaint::1::{}::SOLO", "🖌️", "Vary (Region)"),
    ("zoom_out_2x", "MJ::Outpaint::50::1::{}::SOLO", "🔍", "Zoom Out 2x"),
    ("zoom_out_1_5x", "MJ::Outpaint::75::1::{}::SOLO", "🔍", "Zoom Out 1.5x"),
    ("square", "MJ::Outpaint::100::1::{}::SOLO", "↔️", "Make Square"),
    ("custom_zoom", "MJ::CustomZoom::{}", "🔍", "Custom Zoom"),
    ("pan_left", "MJ::JOB::pan_left::1::{}::SOLO", "⬅️", ""),
    ("pan_right", "MJ::JOB::pan_right::1::{}::SOLO", "➡️", ""),
    ("pan_up", "MJ::JOB::pan_up::1::{}::SOLO", "⬆️", ""),
    ("pan_down", "MJ::JOB::pan_down::1::{}::SOLO", "⬇️", ""),
)


@dataclass(frozen=True, slots=True)
class Button:
    """`action` is the action that `follow_up` applies to the image."""

    action: str
    custom_id: str
    emoji: str
    label: str

    def body(self) -> dict[str, str]:
        return {"customId": self.custom_id, "emoji": self.emoji, "label": self.label}


@dataclass(frozen=True, slots=True)
class Drawing:
    """What Discord shows of an image: the finished one and its previews."""

    job_id: str
    file: File
    previews: tuple[File, ...]
    buttons: tuple[Button, ...]


@dataclass(slots=True, eq=False, kw_only=True)
class DiscordTask(Task):
    drawing: Drawing

    def button_for(self, action: str) -> Button | None:
        return next((button for button in self.drawing.buttons if button.action == action), None)

    def pressed(self, custom_id: str) -> Button | None:
        return next((button for button in self.drawing.buttons if button.custom_id == custom_id), None)


def draw(engine: Engine, channel: str, picture: Picture) -> Drawing:
    """`channel` is the channel id in the attachments' links."""
    job_id = str(uuid.uuid4())
    words = re.sub(r"[^A-Za-z0-9]+", "_", picture.prompt)[:60].strip("_")
    row = _GRID if is_grid(picture.action) else _SINGLE
    return Drawing(
        job_id,
        File(path=f"/attachments/{channel}/{engine.snowflake()}/sandbox_{words}_{job_id}.png", picture=picture),
        tuple(
            File(
                path=f"/attachments/{channel}/{engine.snowflake()}/{job_id}_grid_0.webp",
                picture=picture,
                mimetype="image/webp",
                share=0.25,
                progress=stage,
            )
            for stage in STAGES
            if stage
        ),
        tuple(Button(action, custom_id.format(job_id), emoji, label) for action, custom_id, emoji, label in row),
    )


def described(engine: Engine, channel: str) -> Drawing:
    """The image that was sent to be described; it has no buttons."""
    job_id = str(uuid.uuid4())
    picture = Picture(prompt="an image that was sent in", seed=0)
    return Drawing(
        job_id, File(path=f"/attachments/{channel}/{engine.snowflake()}/{job_id}.png", picture=picture), (), ()
    )


def status(task: Task, progress: int) -> str:
    if progress == 100:
        return "FAILURE" if task.failure else "SUCCESS"
    return "IN_PROGRESS" if progress else "SUBMITTED"


def percent(task: Task, progress: int) -> str:
    """Empty after a failure."""
    return "" if progress == 100 and task.failure else f"{progress}%"


def reached(task: Task) -> int:
    """The current progress, for a query."""
    return 100 if task.finished_at is not None else min(task.progress, STAGES[-1])


def is_data_link(text: object) -> bool:
    return isinstance(text, str) and _DATA_LINK.fullmatch(text) is not None


def is_http_link(text: str) -> bool:
    return re.match(r"https?://[^/\s]+", text) is not None


def is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)
