"""Shared by vendors that drive Midjourney's Discord bot: requests, tasks and task lists."""

from worker.providers.discord.capabilities import (
    BLEND,
    DESCRIBE,
    GRID,
    IMAGINE,
    PAN,
    UPSCALE,
    VARIATION,
    ZOOM,
    button_of,
    compose,
    task_of,
)
from worker.providers.discord.listing import listed_task
from worker.providers.discord.results import DISCORD_HOSTS, Fields, read_body, read_record, read_task

__all__ = [
    "BLEND",
    "DESCRIBE",
    "DISCORD_HOSTS",
    "GRID",
    "IMAGINE",
    "PAN",
    "UPSCALE",
    "VARIATION",
    "ZOOM",
    "Fields",
    "button_of",
    "compose",
    "listed_task",
    "read_body",
    "read_record",
    "read_task",
    "task_of",
]
