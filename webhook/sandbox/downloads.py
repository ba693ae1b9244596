"""Serves the pictures under their signed links, and does to them what the knobs say."""

import hashlib
import re
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request

from webhook.sandbox.faults import DOWNLOADS
from webhook.sandbox.pictures import Picture, is_grid
from webhook.sandbox.studio import Studio
from webhook.sandbox.task import Task

HTML = b"<!doctype html><title>Error</title><h1>502 Bad Gateway</h1><p>The server is temporarily unable to answer.</p>"
#: seconds, and pieces
SLOW = 5
SLOW_PIECES = 25


class Downloads:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def blueprint(self) -> Blueprint:
        blueprint = Blueprint("downloads", __name__)
        blueprint.get("/attachments/<channel>/<message>/<name>")(self.attachment)
        return blueprint

    def attachment(self, channel: str, message: str, name: str) -> Response:  # noqa: ARG002
        found = self._studio.find_by_image(message)
        if not found or not self._studio.links.works(request.path, request.args):
            return self._gone()
        task, progress = found
        if progress < 100:
            # The vendor destroys the intermediate pictures when the generation is done.
            return self._gone() if task.finished_at is not None else self._progress_picture(task, progress)
        knobs = task.knobs | self._studio.faults.draw(DOWNLOADS)
        fault = next((knob for knob in DOWNLOADS if knob in knobs), None)
        picture = self._picture(task, name)
        if fault == "html":
            return self._serve(HTML, "image/png", task, fault)
        return self._spoiled(picture, task, fault)

    def _picture(self, task: Task, name: str) -> bytes:
        """The whole picture, or one quadrant of it where the name says so; smaller if `width` says so."""
        picture, side = task.picture, self._studio.side(task)
        if is_grid(task.action) and (part := re.search(r"_0_([0-3])\.png$", name)):
            picture = Picture(picture.prompt, picture.seed, picture.action, int(part[1]) + 1, picture.camera)
            side //= 2
        side = min(side, request.args.get("width", side, int), request.args.get("height", side, int))
        return self._studio.render(picture, max(side, 1), f"{picture.prompt[:200]} Job ID: {task.job_id}")

    def _progress_picture(self, task: Task, progress: int) -> Response:
        side = max(2, self._studio.side(task) // 4)
        return self._serve(self._studio.render_progress(task.picture, side, progress), "image/webp", task, None)

    def _spoiled(self, picture: bytes, task: Task, fault: str | None) -> Response:
        half = picture[: len(picture) // 2]
        match fault:
            case "corrupt":
                return self._serve(_flip_bits(picture), "image/png", task, fault)
            case "short":
                return self._serve(half, "image/png", task, fault)
            case "truncated":
                answer = self._serve(half, "image/png", task, fault)
                # As an iterator, because Flask would write the length that is true.
                answer.response = iter([half])
                answer.content_length = len(picture)
                return answer
            case "slow":
                answer = self._serve(picture, "image/png", task, fault)
                answer.response = _drip(picture)
                answer.content_length = len(picture)
                return answer
        return self._serve(picture, "image/png", task, fault)

    def _serve(self, body: bytes, mimetype: str, task: Task, fault: str | None) -> Response:
        self._note(200, task_id=task.id, bytes=len(body), sha256=hashlib.sha256(body).hexdigest(), fault=fault)
        return Response(body, mimetype=mimetype)

    def _gone(self) -> Response:
        self._note(404)
        return Response("This content is no longer available.", 404, mimetype="text/plain")

    def _note(self, status: int, **facts: object) -> None:
        # The path without the signature: that is what tells files apart.
        self._studio.journal.note("download", path=request.path, status=status, **facts)


def _flip_bits(picture: bytes) -> bytes:
    """In the image data, where a decoder must notice; it may well ignore a broken comment."""
    start = picture.index(b"IDAT") + 4
    middle = (start + len(picture)) // 2
    return picture[:middle] + bytes(byte ^ 0x55 for byte in picture[middle : middle + 8]) + picture[middle + 8 :]


def _drip(picture: bytes) -> Iterator[bytes]:
    size = len(picture) // SLOW_PIECES + 1
    for start in range(0, len(picture), size):
        yield picture[start : start + size]
        time.sleep(SLOW / SLOW_PIECES)
