"""`--option NAME=VALUE`: repeated images add up, and a local file becomes a `data:` link."""

import base64
import os.path
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tasks.usecases.entry import FIRST
from worker.errors import RequestInvalid
from worker.generation import Operation
from worker.media import content_type_of


class FirstOperation(click.Choice[str]):
    """One of FIRST; the error for the others says how to submit them."""

    def __init__(self) -> None:
        super().__init__([operation.value for operation in FIRST])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in set(Operation) - set(FIRST):
            self.fail(f"{value} is a follow-up: name its parent with --parent and the action with --action")
        return super().convert(value, param, ctx)


#: options whose values are images
PICTURES = frozenset({"images", "style_images", "omni_image", "end_image", "mask"})
#: bytes; Ace Data Cloud and Kie.ai take no larger ones
_LARGEST = 10 * 1024 * 1024
#: content types that providers take
_TAKEN = frozenset({"image/png", "image/jpeg", "image/webp"})
_LINK = re.compile(r"(https?://|data:)", re.IGNORECASE)


def read_options(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    """One value per option; for repeated images, all of them."""
    options: dict[str, Any] = {}
    for item in given:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise click.BadParameter(f"{item!r} is not of the form name=value, such as version=8.1")
        if name in options and name not in PICTURES:
            raise click.BadParameter(f"{name} is given twice")
        if name in PICTURES:
            options[name] = [*options.get(name, ()), *_links(name, value)]
        else:
            options[name] = value
    return options


def _links(name: str, value: str) -> list[str]:
    """Links unchanged, files as `data:` links; raises RequestInvalid for anything else."""
    return value.split() if _LINK.match(value) else [_data_link(name, value)]


def _data_link(name: str, path: str) -> str:
    try:
        # A shell does not read the ~ behind an equals sign.
        with Path(os.path.expanduser(path)).open("rb") as file:  # noqa: PTH111 (that of Path raises for unknown users)
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        advice = "give a link, or a PNG, JPEG or WebP file on this machine"
        raise RequestInvalid(f"option {name}: {path!r} cannot be read: {reason}; {advice}") from error
    if len(content) > _LARGEST:
        raise RequestInvalid(f"option {name}: {path} is larger than the {_LARGEST >> 20} MB that providers accept")
    kind = content_type_of(content)
    if kind not in _TAKEN:
        raise RequestInvalid(f"option {name}: {path} is not a PNG, JPEG or WebP image")
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
