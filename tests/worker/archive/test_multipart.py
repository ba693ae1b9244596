"""Files above 16 MiB go in parts: whole or not at all, and no part of a failed one is left."""

import base64
import hashlib
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.s3 import BUCKET, Server, boto3_client
from tests.worker.archive.answers import SLOW_DOWN, Answer, answering
from tests.worker.archive.storing import digest, store
from worker.archive import Keeping, Verdict, Verified
from worker.archive.multipart import PART
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveConflict, ArchiveError

FILM = bytes(range(256)) * (17 * 4096)
OTHER = FILM[:-1] + b"X"

NOTHING_THERE = Answer(404)
CREATED = Answer(200, b"<UploadId>a&amp;b</UploadId>")
PARTS = [Answer(200)] * 3
COMPLETED = Answer(200, b"<CompleteMultipartUploadResult/>")
ABORTED = Answer(204)
NOT_IMPLEMENTED = Answer(501, b"<Error><Code>NotImplemented</Code></Error>")


class Film(io.BytesIO):
    """Somebody else acts when it has been read to its last part."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(FILM)
        self._act = act
        self._waits = True

    def read(self, size: int | None = -1) -> bytes:
        if self._waits and self.tell() >= 2 * PART:
            self._waits = False
            self._act()
        return super().read(size)


def stop() -> None:
    raise SystemExit


def unfinished(archive: S3Archive) -> list[str]:
    return [found["Key"] for found in boto3_client(archive).list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"2026/11/21/{request.node.originalname}/gen_1/0.mp4"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.signed_requests.time.sleep", lambda seconds: None)


def test_a_large_file_comes_back_whole_with_all_that_is_written_beside_it(archive: S3Archive, key: str):
    assert store(archive, key, FILM, filename="cat-0.mp4").bytes == len(FILM)
    assert archive.verify(key, digest(FILM)) is Verdict.INTACT
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key)
    assert {name.lower(): value for name, value in found["Metadata"].items()} == {
        "generation-id": "gen_1",
        "sha256": digest(FILM),
    }
    assert (found["ContentType"], found["ContentDisposition"]) == ("image/png", 'inline; filename="cat-0.mp4"')
    assert unfinished(archive) == []


def test_the_store_checks_each_part_and_keeps_the_hash_of_their_hashes(
    moto: Server, open_at: Callable[..., S3Archive], key: str
):
    archive = open_at(moto.endpoint)
    store(archive, key, FILM)
    hashes = b"".join(hashlib.sha256(FILM[start : start + PART]).digest() for start in range(0, len(FILM), PART))
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"].startswith(base64.b64encode(hashlib.sha256(hashes).digest()).decode())


def test_a_large_file_that_lies_there_is_not_sent_again(archive: S3Archive, key: str):
    store(archive, key, FILM)
    assert store(archive, key, FILM, Film(stop)).object_key == key


def test_other_bytes_are_a_conflict_even_where_conditions_are_unknown(archive: S3Archive, key: str):
    store(archive, key, FILM)
    with pytest.raises(ArchiveConflict):
        store(archive, key, OTHER)
    assert archive.verify(key, digest(FILM)) is Verdict.INTACT


@pytest.mark.parametrize("theirs", [FILM, OTHER])
def test_whoever_completes_first_wins(moto: Server, open_at: Callable[..., S3Archive], key: str, theirs: bytes):
    archive = open_at(moto.endpoint)
    key = f"{key}/{theirs == FILM}"
    film = Film(lambda: boto3_client(archive).put_object(Bucket=BUCKET, Key=key, Body=theirs))
    if theirs == FILM:
        assert store(archive, key, FILM, film).object_key == key
    else:
        with pytest.raises(ArchiveConflict):
            store(archive, key, FILM, film)
    assert archive.verify(key, digest(theirs)) is Verdict.INTACT
    assert unfinished(archive) == []


def test_what_is_stopped_halfway_leaves_no_parts_and_can_be_repeated(archive: S3Archive, key: str):
    with pytest.raises(SystemExit):
        store(archive, key, FILM, Film(stop))
    assert unfinished(archive) == []
    assert archive.verify(key, digest(FILM)) is Verdict.MISSING
    store(archive, key, FILM)
    assert archive.verify(key, digest(FILM)) is Verdict.INTACT


def test_a_file_that_is_not_what_its_hash_says_is_not_stored(archive: S3Archive, key: str):
    with pytest.raises(ArchiveError, match="changed while they were being stored"):
        store(archive, key, FILM, io.BytesIO(OTHER))
    assert unfinished(archive) == []
    assert archive.verify(key, digest(OTHER)) is Verdict.MISSING


def test_a_film_of_50_mb_takes_little_memory(
    rclone: Server, open_at: Callable[..., S3Archive], key: str, tmp_path: Path
):
    film = tmp_path / "film"
    film.write_bytes(b"film" * 12_500_000)
    expected = digest(film.read_bytes())
    archive = open_at(rclone.endpoint)
    archive.check()
    tracemalloc.start()
    try:
        with film.open("rb") as file:
            archive.store(
                key,
                file,
                sha256=expected,
                size=50_000_000,
                content_type="video/mp4",
                metadata={},
                filename="film.mp4",
                tags={},
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000
    assert archive.verify(key, expected) is Verdict.INTACT


def test_a_part_that_meets_a_passing_trouble_is_sent_again(open_at: Callable[..., S3Archive], key: str):
    with answering(NOTHING_THERE, CREATED, PARTS[0], SLOW_DOWN, None, *PARTS[1:], COMPLETED) as busy:
        store(open_at(busy.endpoint), key, FILM)
    assert busy.bodies[2:7] == [FILM[:PART], *[FILM[PART : 2 * PART]] * 3, FILM[2 * PART :]]
    assert [line.split()[1].partition("?")[2] for line in busy.lines[2:4]] == [
        "partNumber=1&uploadId=a%26b",
        "partNumber=2&uploadId=a%26b",
    ]


def test_a_lasting_trouble_aborts_the_upload(open_at: Callable[..., S3Archive], key: str):
    with (
        answering(NOTHING_THERE, CREATED, PARTS[0], SLOW_DOWN, SLOW_DOWN, SLOW_DOWN, ABORTED) as busy,
        pytest.raises(ArchiveError, match="answered SlowDown"),
    ):
        store(open_at(busy.endpoint), key, FILM)
    assert busy.lines[-1].startswith("DELETE")


def test_an_error_that_comes_with_a_success_status_is_an_error(open_at: Callable[..., S3Archive], key: str):
    late = Answer(200, b"<Error><Code>InternalError</Code></Error>")
    with (
        answering(NOTHING_THERE, CREATED, *PARTS, late, ABORTED) as busy,
        pytest.raises(ArchiveError, match="answered InternalError"),
    ):
        store(open_at(busy.endpoint), key, FILM)
    assert busy.answers == []


def test_a_completion_whose_answer_was_lost_is_found_to_be_done(open_at: Callable[..., S3Archive], key: str):
    gone = Answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
    ours = Answer(200, FILM)
    with answering(NOTHING_THERE, CREATED, *PARTS, None, gone, gone, ours) as forgetful:
        assert store(open_at(forgetful.endpoint), key, FILM).object_key == key
    assert forgetful.answers == []


def test_a_store_that_completes_only_without_a_condition_gets_none(open_at: Callable[..., S3Archive], key: str):
    again = [NOTHING_THERE, CREATED, *PARTS, COMPLETED]
    with answering(NOTHING_THERE, CREATED, *PARTS, NOT_IMPLEMENTED, COMPLETED, *again) as simple:
        archive = open_at(simple.endpoint)
        store(archive, key, FILM)
        store(archive, key, FILM)
    conditional = ["if-none-match" in headers for headers in simple.headers]
    assert conditional == [False] * 5 + [True] + [False] * 7


def test_a_store_without_tags_or_checksums_gets_parts_without_them(open_at: Callable[..., S3Archive], key: str):
    refusals = [NOT_IMPLEMENTED] * 2
    with answering(NOTHING_THERE, *refusals, CREATED, *PARTS, COMPLETED) as simple:
        archive = open_at(simple.endpoint, keeping=Keeping(storage_class="STANDARD_IA"))
        assert store(archive, key, FILM, batch="cats").verified is Verified.ETAG
    first, last = simple.headers[1], simple.headers[3]
    assert first["x-amz-tagging"] == "batch=cats"
    assert first["x-amz-checksum-algorithm"] == "SHA256"
    assert first.keys() - last.keys() == {"x-amz-tagging", "x-amz-checksum-algorithm", "x-amz-storage-class"}
    assert not any("x-amz-checksum-sha256" in headers for headers in simple.headers)
    assert b"Checksum" not in simple.bodies[-1]
