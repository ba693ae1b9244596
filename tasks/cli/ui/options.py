"""`--option NAME=VALUE`: repeated images accumulate, and a local file becomes a `data:` link."""

import base64
from collections.abc import Sequence
from typing import Any

import click

from tasks.usecases.entry import FIRST
from tasks.usecases.inputs import image_options, is_elsewhere, read_image
from worker.generation import Operation


class FirstOperation(click.Choice[str]):
    """A choice of FIRST; the error for other operations says how to submit them."""

    def __init__(self) -> None:
        super().__init__([operation.value for operation in FIRST])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in set(Operation) - set(FIRST):
            self.fail(f"{value} is a follow-up: name its parent with --parent and the action with --action")
        return super().convert(value, param, ctx)


def read_options(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    """Return one value per option; for repeated images, all of them."""
    options: dict[str, Any] = {}
    for item in given:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise click.BadParameter(f"{item!r} is not of the form name=value, such as version=8.1")
        if name in options and name not in image_options():
            raise click.BadParameter(f"{name} is given twice")
        if name in image_options():
            options[name] = [*options.get(name, ()), *_links(name, value)]
        else:
            options[name] = value
    return options


def _links(name: str, value: str) -> list[str]:
    """Return links and references unchanged, files as `data:` links. Raises RequestInvalid for anything else."""
    return value.split() if is_elsewhere(value) else [_data_link(name, value)]


def _data_link(name: str, path: str) -> str:
    content, kind = read_image(name, path)
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
