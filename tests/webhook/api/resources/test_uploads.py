"""POST /v1/uploads: an image is stored once, and its reference is an image of generations."""

import hashlib
import io
import json
import logging
import zlib
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from tasks.usecases import uploads
from tasks.usecases.entry import Entry, Place
from tasks.usecases.submit import SubmitRequest, check, submit
from tests import s3
from webhook.api.models.uploads import UploadDocument
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError
from worker.services import Services

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


def image(content_type: str = "image/png", color: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), color).save(file, FORMATS[content_type])
    return file.getvalue()


def post(api: FlaskClient, content: bytes, content_type: str | None = "image/png", **more: Any) -> TestResponse:
    return api.post("/v1/uploads", data=content, content_type=content_type, **more)


@pytest.mark.parametrize("content_type", FORMATS)
def test_an_image_is_in_the_bucket_and_has_a_reference(
    here: Services, rclone: s3.Server, api: FlaskClient, content_type: str
) -> None:
    content = image(content_type)
    answer = post(api, content, content_type)
    assert answer.status_code == 201
    document = UploadDocument.model_validate(answer.json)
    sha256 = hashlib.sha256(content).hexdigest()
    extension = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}[content_type]
    assert (document.sha256, document.bytes, document.content_type) == (sha256, len(content), content_type)
    assert (document.id, document.reference) == (f"upl_{sha256}", f"input:{sha256}.{extension}")
    assert document.providers == ["acedata", "kie", "ohmygpt", "mjproxy"]
    key = here.ledger.inputs.get([sha256])[sha256].object_key
    assert (Path(str(rclone.folder)) / s3.BUCKET / key).read_bytes() == content


def test_the_same_image_again_is_the_same_upload(here: Services, rclone: s3.Server, api: FlaskClient) -> None:
    first, again = post(api, image()), post(api, image())
    assert (again.status_code, again.json) == (first.status_code, first.json)
    folder = Path(str(rclone.folder)) / s3.BUCKET / here.archive.keys.inputs
    assert len([file for file in folder.rglob("*") if file.is_file()]) == 1


def test_the_reference_is_an_image_of_a_generation(here: Services, api: FlaskClient) -> None:
    document = UploadDocument.model_validate(post(api, image()).json)
    entry = Entry(place=Place(""), prompt="a fox", provider="mjproxy", options={"images": [document.reference]})
    (generation,) = submit(here, check(here, SubmitRequest(entries=[entry]))).generations
    assert generation.options == {"images": [document.reference]}
    assert here.ledger.inputs.used_by(generation.id) == [document.sha256]


def test_a_large_image_says_which_providers_take_it(api: FlaskClient) -> None:
    content = image()
    # A comment of a PNG may have any length; what it says is of no interest.
    filler = b"tEXt" + b"a\0" + b"x" * (11 * 1024 * 1024)
    chunk = (len(filler) - 4).to_bytes(4) + filler + zlib.crc32(filler).to_bytes(4)
    large = content[:-12] + chunk + content[-12:]
    answer = post(api, large)
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["providers"] == ["ohmygpt", "mjproxy"]


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_large_is_refused_without_reading_all_of_it(api: FlaskClient, chunked: bool) -> None:
    class Endless(io.RawIOBase):
        read_so_far = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.read_so_far += len(buffer)
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    body = Endless()
    environ = create_environ("/v1/uploads", method="POST", content_type="image/png")
    environ |= {"wsgi.input": body, "REMOTE_ADDR": "127.0.0.1"}
    if not chunked:
        environ["CONTENT_LENGTH"] = str(10**9)
    pieces, status, _ = run_wsgi_app(api.application, environ)
    assert status.startswith("413")
    assert json.loads(b"".join(pieces))["detail"] == "the image is larger than 20 MB: upload a smaller one"
    assert body.read_so_far <= (uploads.LARGEST_UPLOAD if chunked else 0) + 2**20 + 128 * 1024


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "multipart/form-data", "image/gif"])
def test_a_body_of_another_type_is_refused_before_it_is_read(api: FlaskClient, content_type: str | None) -> None:
    answer = post(api, image(), content_type)
    assert answer.status_code == 415
    assert answer.json is not None
    assert "send it as image/png or image/jpeg or image/webp" in answer.json["detail"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (image("image/jpeg"), "this is image/jpeg, not image/png: correct its content type"),
        (b"<html>not an image</html>", "an HTML page, not an image: upload a complete PNG, JPEG or WebP image"),
        (image()[:-20], "upload a complete PNG, JPEG or WebP image"),
        (b"", "the file is empty: upload a complete PNG"),
    ],
)
def test_what_is_no_complete_image_of_its_type_is_refused(
    here: Services, api: FlaskClient, content: bytes, words: str
) -> None:
    answer = post(api, content)
    assert answer.status_code == 422
    assert answer.json is not None
    assert words in answer.json["detail"]
    assert here.ledger.inputs.get([hashlib.sha256(content).hexdigest()]) == {}


def test_a_bucket_that_fails_is_503_and_the_next_try_stores_it(
    here: Services, api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ArchiveError("the bucket is full")

    with monkeypatch.context() as patch:
        patch.setattr(S3Archive, "store", full)
        answer = post(api, image())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json is not None
    assert (answer.json["code"], answer.json["detail"]) == ("bucket_unavailable", "the bucket is full")
    document = UploadDocument.model_validate(post(api, image()).json)
    key = here.ledger.inputs.get([document.sha256])[document.sha256].object_key
    with here.archive.read(key) as pieces:
        assert b"".join(pieces) == image()


def test_each_upload_is_one_line_of_the_log(api: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webhook.api.uploads")
    document = UploadDocument.model_validate(post(api, image()).json)
    assert [record.getMessage() for record in caplog.records if record.name == "webhook.api.uploads"] == [
        f"local uploaded the image {document.reference} ({document.bytes} bytes)"
    ]
