"""Serves result files under their links, with the faults that the knobs select."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from flask import Blueprint, Response, request

from webhook.sandbox.engine import Engine
from webhook.sandbox.faults import DOWNLOADS
from webhook.sandbox.pictures import Picture, render, render_progress
from webhook.sandbox.task import File, Task
from webhook.sandbox.videos import render_video

HTML = b"<!doctype html><title>Error</title><h1>502 Bad Gateway</h1><p>The server is temporarily unable to answer.</p>"
#: seconds, and pieces
SLOW = 5
SLOW_PIECES = 25
#: the length of a video, in seconds
PLAYS = 2
#: the part in which a decoder must notice flipped bits; it may ignore a broken comment
_VITAL = {"image/png": b"IDAT", "image/jpeg": b"\xff\xdb", "video/mp4": b"moov"}
#: an encoder takes tens of megabytes
_ONE_FILM_AT_A_TIME = threading.Lock()


class Downloads:
    def __init__(self, engine: Engine, folders: tuple[str, ...]) -> None:
        """`folders` are the path prefixes of the dialects' files, like `/attachments`."""
        self._engine = engine
        # Thousands of images do not fit into memory; the few in use do.
        self._render: Callable[..., bytes] = lru_cache(maxsize=32)(_render)
        self._render_progress = lru_cache(maxsize=32)(render_progress)
        self.blueprint = Blueprint("downloads", __name__)
        for folder in folders:
            self.blueprint.get(f"{folder}/<path:name>", endpoint=folder)(self._download)

    def _download(self, name: str) -> Response:  # noqa: ARG002
        found = self._engine.find_file(request.path)
        if not found or not self._engine.may_download(*found, request.args):
            return self._gone()
        task, file = found
        if file.progress < 100:
            # The vendor deletes previews when the generation is done.
            return self._gone() if task.finished_at is not None else self._preview(task, file)
        knobs = task.knobs | self._engine.faults.draw(DOWNLOADS)
        fault = next((knob for knob in DOWNLOADS if knob in knobs), None)
        if fault == "html":
            return self._serve(HTML, file.mimetype, task, fault)
        return self._spoiled(self._whole(task, file), task, file.mimetype, fault)

    def _whole(self, task: Task, file: File) -> bytes:
        """Return the file, scaled down if `width` or `height` asks for that."""
        side = round(self._engine.side(task) * file.share)
        side = max(1, min(side, request.args.get("width", side, int), request.args.get("height", side, int)))
        return self._render(file.picture, side, f"{file.picture.prompt[:200]} Job ID: {task.id}", file.mimetype)

    def _preview(self, task: Task, file: File) -> Response:
        side = max(2, round(self._engine.side(task) * file.share))
        return self._serve(self._render_progress(file.picture, side, file.progress), file.mimetype, task, None)

    def _spoiled(self, body: bytes, task: Task, mimetype: str, fault: str | None) -> Response:
        half = body[: len(body) // 2]
        match fault:
            case "corrupt":
                return self._serve(_flip_bits(body, _VITAL[mimetype]), mimetype, task, fault)
            case "short":
                return self._serve(half, mimetype, task, fault)
            case "truncated":
                answer = self._serve(half, mimetype, task, fault)
                # As an iterator, because Flask would send the true length.
                answer.response = iter([half])
                answer.content_length = len(body)
                return answer
            case "slow":
                answer = self._serve(body, mimetype, task, fault)
                answer.response = _drip(body)
                answer.content_length = len(body)
                return answer
        return self._serve(body, mimetype, task, fault)

    def _serve(self, body: bytes, mimetype: str, task: Task, fault: str | None) -> Response:
        facts = {"provider": task.dialect.name, "task_id": task.id, "fault": fault}
        self._note(200, bytes=len(body), sha256=hashlib.sha256(body).hexdigest(), **facts)
        return Response(body, mimetype=mimetype)

    def _gone(self) -> Response:
        self._note(404)
        return Response("This content is no longer available.", 404, mimetype="text/plain")

    def _note(self, status: int, **facts: object) -> None:
        # Without the signature: the path alone identifies the file.
        self._engine.journal.note("download", path=request.path, status=status, **facts)


def _render(picture: Picture, side: int, comment: str, mimetype: str) -> bytes:
    if mimetype == "video/mp4":
        with _ONE_FILM_AT_A_TIME:
            return render_video(picture, side, PLAYS, comment)
    return render(picture, side, comment, mimetype)


def _flip_bits(body: bytes, vital: bytes) -> bytes:
    """In the middle of a PNG's image data, at a table of a JPEG, in the index of a video."""
    start = body.index(vital)
    middle = (start + 4 + len(body)) // 2 if vital == b"IDAT" else start + 8 * (vital == b"moov")
    return body[:middle] + bytes(byte ^ 0x55 for byte in body[middle : middle + 8]) + body[middle + 8 :]


def _drip(body: bytes) -> Iterator[bytes]:
    size = len(body) // SLOW_PIECES + 1
    for start in range(0, len(body), size):
        yield body[start : start + size]
        time.sleep(SLOW / SLOW_PIECES)
