"""/v1/uploads"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_content_length

from tasks.usecases import views
from tasks.usecases.uploads import LARGEST_UPLOAD, UPLOAD_TYPES, upload
from webhook.api.call import Call, Refused, Reply
from webhook.api.models.uploads import UploadDocument
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from webhook.bodies import reading

log = logging.getLogger(__name__)

routes = Routes("uploads")

#: bytes read at a time; larger bodies are kept in a file
_PIECE, _IN_MEMORY = 64 * 1024, 1024 * 1024


@routes.post(
    "/uploads",
    scope=Scope.GENERATIONS_WRITE,
    answers={201: UploadDocument},
    problems=(413, 415, 422),
    media=UPLOAD_TYPES,
)
def upload_image(call: Call) -> Reply:
    """Upload an image: PNG, JPEG or WebP, at most 20 MB.

    The body is the file itself. Use `reference` as a value of image options of generations and batches; `providers`
    names those that take a file of this size. Uploading the same file again returns the same upload. An upload that no
    generation uses is deleted after the time that DARKROOM_KEEP_DAYS sets.
    """
    with _spooled(call.request) as file:
        uploaded = upload(call.here, file, call.request.mimetype)
    log.info("%s uploaded the image %s (%d bytes)", call.caller.name, uploaded.reference, uploaded.file.bytes)
    return Reply(document=views.of_uploaded(uploaded), status=201)


@contextmanager
def _spooled(request: Request) -> Iterator[IO[bytes]]:
    """Yield the body as a file. Raises Refused above LARGEST_UPLOAD, and ClientDisconnected below the declared length.

    An upload that is too large is refused before the rest of it is read.
    """
    length = get_content_length(request.environ)  # None for a chunked body
    if length is not None and length > LARGEST_UPLOAD:
        raise _too_large()
    body, size = request.environ["wsgi.input"], 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        with reading(request.environ):
            while piece := body.read(_PIECE if length is None else min(_PIECE, length - size)):
                size += len(piece)
                if size > LARGEST_UPLOAD:
                    raise _too_large()
                file.write(piece)
        if length is not None and size < length:
            # If the sender hangs up, granian passes on what it received, without an error.
            raise ClientDisconnected
        yield file


def _too_large() -> Refused:
    return Refused(
        f"the image is larger than {LARGEST_UPLOAD >> 20} MB: upload a smaller one",
        status=413,
        code="request_entity_too_large",
    )
