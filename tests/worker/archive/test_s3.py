"""What every S3 server must do with the archive; `server` is rclone in one run and moto in the other."""

import base64
import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from tests.s3 import BUCKET, SECRET_KEY, Server, boto3_client
from tests.worker.archive.answers import Answer, answering
from tests.worker.archive.storing import PIXELS, digest, store
from worker.archive import Keeping, Keys, StoredAsset, Verdict, open_archive
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveConflict, ConfigurationError


def fetch(archive: S3Archive, key: str) -> bytes:
    with urllib.request.urlopen(archive.url(key)) as response:
        return response.read()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """One key for each test: the servers outlive them."""
    return f"2026/11/21/{request.node.originalname}/gen_1/0.png"


def test_what_is_stored_can_be_fetched_by_its_link(archive: S3Archive, key: str):
    assert store(archive, key) == StoredAsset(
        object_key=key, sha256=digest(PIXELS), bytes=len(PIXELS), content_type="image/png"
    )
    assert fetch(archive, key) == PIXELS


def test_the_bytes_on_the_disk_are_the_bytes_stored(rclone: Server, open_at: Callable[..., S3Archive], key: str):
    store(open_at(rclone.endpoint), key)
    assert (rclone.folder / BUCKET / key).read_bytes() == PIXELS


def test_an_object_knows_its_type_its_hash_and_its_generation(archive: S3Archive, key: str):
    store(archive, key)
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key)
    assert found["ContentType"] == "image/png"
    assert {name.lower(): value for name, value in found["Metadata"].items()} == {
        "generation-id": "gen_1",
        "sha256": digest(PIXELS),
    }


def test_an_object_keeps_the_checksum_that_it_was_put_with(rclone: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(rclone.endpoint)
    store(archive, key)
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(PIXELS).digest()).decode()


def test_an_empty_file_is_stored(archive: S3Archive, key: str):
    store(archive, key, b"")
    assert archive.verify(key, digest(b"")) is Verdict.INTACT


def test_storing_the_same_bytes_again_changes_nothing(archive: S3Archive, key: str):
    assert store(archive, key) == store(archive, key)
    assert fetch(archive, key) == PIXELS


def test_other_bytes_under_the_same_key_are_a_conflict(moto: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(moto.endpoint)
    store(archive, key)
    with pytest.raises(ArchiveConflict, match=f'{key}" in bucket "{BUCKET}"'):
        store(archive, key, b"other bytes")
    assert fetch(archive, key) == PIXELS


@pytest.mark.parametrize("there", [PIXELS, b"other bytes"])
def test_an_object_that_somebody_else_put_is_compared_by_its_bytes(
    moto: Server, open_at: Callable[..., S3Archive], key: str, there: bytes
):
    archive = open_at(moto.endpoint)
    boto3_client(archive).put_object(Bucket=BUCKET, Key=key, Body=there)
    if there == PIXELS:
        assert store(archive, key).object_key == key
        boto3_client(archive).delete_object(Bucket=BUCKET, Key=key)
    else:
        with pytest.raises(ArchiveConflict):
            store(archive, key)


def test_many_threads_share_one_archive(archive: S3Archive, key: str):
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda number: store(archive, f"{key}/{number}", b"%d" % number), range(24)))
    assert [fetch(archive, asset.object_key) for asset in stored] == [b"%d" % number for number in range(24)]


def test_a_large_file_is_read_in_small_pieces(archive: S3Archive, key: str):
    content = bytes(3_000_000)

    class Watched(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            piece = super().read(size)
            self.largest = max(self.largest, len(piece))
            return piece

    file = Watched(content)
    store(archive, key, content, file)
    assert 0 < file.largest <= 256 * 1024
    assert archive.verify(key, digest(content)) is Verdict.INTACT


def test_a_store_that_was_stopped_halfway_leaves_nothing_and_can_be_repeated(archive: S3Archive, key: str):
    class StoppedHere(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise SystemExit
            return super().read(100_000)

    content = PIXELS * 1000
    with pytest.raises(SystemExit):
        store(archive, key, content, StoppedHere(content))
    assert archive.verify(key, digest(content)) is Verdict.MISSING
    store(archive, key, content)
    assert archive.verify(key, digest(content)) is Verdict.INTACT


def test_a_sidecar_may_be_written_again(archive: S3Archive, key: str):
    archive.overwrite(key, b'{"n": 1}', content_type="application/json", metadata={"generation-id": "gen_1"})
    stored = archive.overwrite(key, b'{"n": 22}', content_type="application/json", metadata={"generation-id": "gen_1"})
    assert stored == StoredAsset(object_key=key, sha256=digest(b'{"n": 22}'), bytes=9, content_type="application/json")
    assert fetch(archive, key) == b'{"n": 22}'


def test_verifying_reads_the_bytes_and_not_what_is_written_beside_them(archive: S3Archive, key: str):
    assert archive.verify(key, digest(PIXELS)) is Verdict.MISSING
    store(archive, key)
    assert archive.verify(key, digest(PIXELS)) is Verdict.INTACT
    boto3_client(archive).put_object(Bucket=BUCKET, Key=key, Body=b"rotten", Metadata={"sha256": digest(PIXELS)})
    assert archive.verify(key, digest(PIXELS)) is Verdict.CHANGED


def test_a_damaged_file_on_the_disk_is_noticed(rclone: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(rclone.endpoint)
    store(archive, key)
    with (rclone.folder / BUCKET / key).open("r+b") as file:
        file.write(b"X")
    assert archive.verify(key, digest(PIXELS)) is Verdict.CHANGED


def test_a_link_says_when_it_dies_and_holds_no_secret(archive: S3Archive, key: str):
    link = archive.url(key, expires=timedelta(minutes=5))
    assert "X-Amz-Expires=300" in link
    assert SECRET_KEY not in link


def test_a_link_is_signed(rclone: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(rclone.endpoint)
    store(archive, key)
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(archive.url(key).replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"))
    refused.value.close()


def test_the_headers_of_a_put_are_signed(rclone: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(rclone.endpoint)
    sent = archive._requests._http.urlopen

    def forge(method: str, url: str, *, headers: dict[str, str], **options: object):
        return sent(method, url, headers={**headers, "Content-Type": "text/html"}, **options)

    archive._requests._http.urlopen = forge
    with pytest.raises(ConfigurationError):
        store(archive, key)


def test_an_address_is_sent_as_it_was_signed(open_at: Callable[..., S3Archive]):
    with answering(Answer(200)) as other:
        store(open_at(other.endpoint), "a/./b/../c.png")
    assert other.lines == [f"PUT /{BUCKET}/a/./b/../c.png HTTP/1.1"]


def test_a_good_bucket_passes_the_check(archive: S3Archive):
    archive.check()


def test_an_archive_may_be_given_its_client(archive: S3Archive, key: str):
    store(S3Archive(BUCKET, client=archive._client), key)
    assert fetch(archive, key) == PIXELS


def test_a_process_opens_its_bucket_by_name(server: Server, monkeypatch: pytest.MonkeyPatch, key: str):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with closing(open_archive(BUCKET, Keys("studio"), Keeping())) as archive:
        archive.check()
    assert (archive.bucket, archive.keys.prefix) == (BUCKET, "studio")
