"""A batch as one HTML file that opens from disk: it embeds its thumbnails, needs no network and runs no script."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from html import escape
from pathlib import Path
from typing import IO, Any

from tasks.stored_images import EDGE
from tasks.usecases.batches.results.tables import as_cell
from tasks.usecases.batches.results.thumbnails import Thumbnail, Thumbnails
from worker.generation import OPEN, Asset, AssetKind, State
from worker.ledger.generations import BatchResult

#: generations whose thumbnails are made ahead of the one being written
_AHEAD = 16
_CLASS: Mapping[State, str] = {
    **dict.fromkeys(OPEN, "open"),
    **dict.fromkeys((State.FAILED, State.EXPIRED), "failed"),
    State.ARCHIVED: "done",
}
#: class → title of its filter
_FILTERS = {"all": "All", "failed": "Failed", "done": "Archived", "open": "In progress"}
# Whatever a prompt or a column contains, the page loads only images.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https:"

_Made = list[tuple[Asset, "Future[Thumbnail]"]]


class ContactSheet:
    """Written as results come. `counts`: all generations of the batch by state; `about`: a line below its name."""

    def __init__(
        self, stream: IO[bytes], name: str, about: str, counts: Mapping[State, int], thumbnails: Thumbnails
    ) -> None:
        self._stream = stream
        self._thumbnails = thumbnails
        self._ahead: deque[tuple[Mapping[str, Any], BatchResult, _Made]] = deque()
        self._write("".join(_head(name, about, counts)))

    def add(self, document: Mapping[str, Any], one: BatchResult) -> None:
        self._ahead.append((document, one, self._thumbnails.begin(one.assets)))
        if len(self._ahead) > _AHEAD:
            self._write_next()

    def close(self) -> None:
        while self._ahead:
            self._write_next()
        self._write("</main>\n</body>\n</html>\n")

    def _write_next(self) -> None:
        document, one, made = self._ahead.popleft()
        links = {asset["index"]: asset.get("link") for asset in document["assets"]}
        images = [_image(document, asset, self._thumbnails.take(job), links.get(asset.index)) for asset, job in made]
        self._write("".join(_article(document, one, images)))

    def _write(self, text: str) -> None:
        self._stream.write(text.encode(errors="backslashreplace"))


def _head(name: str, about: str, counts: Mapping[State, int]) -> Iterator[str]:
    style = Path(__file__).with_name("contact_sheet.css").read_text(encoding="utf-8")
    numbers = {
        of: sum(number for state, number in counts.items() if of in {"all", _CLASS.get(state)}) for of in _FILTERS
    }
    shown = [of for of, number in numbers.items() if number or of == "all"]
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
    yield f"<title>{escape(name)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    yield f"<header><h1>{escape(name)}</h1><p>{escape(about)}</p></header>\n"
    for of in shown:
        checked = " checked" if of == "all" else ""
        yield f'<input class="filter" type="radio" name="filter" id="{of}"{checked}>\n'
    labels = "".join(f'<label for="{of}">{_FILTERS[of]} {numbers[of]:,}</label>' for of in shown)
    yield f'<nav aria-label="Filter">{labels}</nav>\n<main>\n'


def _article(document: Mapping[str, Any], one: BatchResult, images: list[str]) -> Iterator[str]:
    title = document["key"] or " ".join((document["root_key"] or one.lineage.root_id, *one.actions))
    state = escape(document["state"])
    yield f'<article class="{_CLASS.get(one.generation.state, "other")}" id="{escape(document["id"])}">\n'
    if images:
        yield f'<div class="images">{"".join(images)}</div>\n'
    yield f'<div class="text"><span class="state">{state}</span><h2>{escape(title)}</h2>\n'
    if document["prompt"] and not one.actions:
        yield f"<p>{escape(document['prompt'])}</p>\n"
    why = [document[name] for name in ("reason", "message", "remedy") if document[name]]
    if why:
        yield f'<p class="why">{escape(": ".join(why))}</p>\n'
    if document["cost"] is not None:
        yield f'<p class="dim">{escape(document["cost"])}</p>\n'
    facts = [*document["input"].items(), ("choice", document["choice"]), *document["labels"].items()]
    facts += [("provider", document["provider"]), ("id", document["id"])]
    facts += [("object key", asset["object_key"]) for asset in document["assets"] if asset["object_key"]]
    yield f"<details><summary>Details</summary><dl>{''.join(_pairs(facts))}</dl></details>\n</div>\n</article>\n"


def _pairs(facts: list[tuple[str, Any]]) -> Iterator[str]:
    for name, value in facts:
        cell = as_cell(value)
        if cell is not None and cell != "":
            yield f"<dt>{escape(name)}</dt><dd>{escape(str(cell))}</dd>"


def _image(document: Mapping[str, Any], asset: Asset, made: Thumbnail, link: str | None) -> str:
    source = made.data or (link if made.missing.startswith("no room") else None)
    if source is None:
        shown = f"<span>{escape(_instead(asset, made))}</span>"
    else:
        width, height = _fitting(asset)
        name = document["key"] or document["root_key"] or document["id"]
        alt = escape(f"{name}, {asset.index}")
        shown = f'<img src="{escape(source)}" alt="{alt}" width="{width}" height="{height}" loading="lazy">'
    return f'<a href="{escape(link)}">{shown}</a>' if link else shown


def _instead(asset: Asset, made: Thumbnail) -> str:
    if asset.kind is AssetKind.TEXT and asset.content:
        return "\n".join(str(as_cell(value)) for value in asset.content.values())
    return made.missing or f"{asset.kind} {asset.index}"


def _fitting(asset: Asset) -> tuple[int, int]:
    width, height = asset.width or EDGE, asset.height or EDGE
    scale = EDGE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
