"""Reading what lies in the bucket: a listing of any length, an object of any size."""

import hashlib
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.s3 import BUCKET, Server, boto3_client
from tests.worker.archive.answers import Answer, answering
from tests.worker.archive.storing import PIXELS, digest, store
from worker.archive import Listed, Verdict
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError, NotFound


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    return f"{request.node.originalname}/"


def test_a_listing_tells_every_key_that_starts_so_and_its_size(archive: S3Archive, folder: str):
    names = ["a/0.png", "a/generation.json", "b c&+%20ü/1.png"]
    for size, name in enumerate(names):
        store(archive, f"{folder}{name}", bytes(size))
    store(archive, f"{folder[:-1]}-else/0.png")
    assert list(archive.list(folder)) == [Listed(f"{folder}{name}", size) for size, name in enumerate(names)]
    assert list(archive.list(f"{folder}nothing/")) == []


def test_a_listing_goes_on_past_its_first_page(
    moto: Server, open_at: Callable[..., S3Archive], folder: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    archive = open_at(moto.endpoint)
    for number in range(8):
        store(archive, f"{folder}{number}")
    assert [listed.object_key for listed in archive.list(folder)] == [f"{folder}{number}" for number in range(8)]


def test_a_bucket_that_is_not_there_cannot_be_listed(server: Server, open_at: Callable[..., S3Archive]):
    with pytest.raises(ConfigurationError, match="create the bucket"):
        list(open_at(server.endpoint, bucket="nowhere").list(""))


def test_an_object_tells_what_was_noted_when_it_was_stored(archive: S3Archive, folder: str):
    store(archive, f"{folder}0.png")
    assert archive.metadata(f"{folder}0.png") == {"generation-id": "gen_1", "sha256": digest(PIXELS)}
    with pytest.raises(NotFound, match=f'there is no "{folder}1.png" in bucket'):
        archive.metadata(f"{folder}1.png")


def test_an_object_is_read_in_pieces(rclone: Server, open_at: Callable[..., S3Archive], folder: str):
    archive = open_at(rclone.endpoint)
    content = PIXELS * 20_000
    store(archive, f"{folder}large", content)
    tracemalloc.start()
    try:
        digest_there = hashlib.sha256()
        with archive.read(f"{folder}large") as pieces:
            for piece in pieces:
                digest_there.update(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert digest_there.hexdigest() == digest(content)
    assert peak < 3_000_000


def test_reading_may_stop_early(archive: S3Archive, folder: str):
    store(archive, f"{folder}large", PIXELS * 2000)
    for _ in range(30):
        with archive.read(f"{folder}large") as pieces:
            assert next(pieces)
    assert archive.verify(f"{folder}large", digest(PIXELS * 2000)) is Verdict.INTACT


def test_what_is_not_there_cannot_be_read(archive: S3Archive, folder: str):
    with pytest.raises(NotFound, match=f'there is no "{folder}x"'), archive.read(f"{folder}x"):
        pytest.fail("there is something")


def test_an_object_that_breaks_off_is_no_changed_object(open_at: Callable[..., S3Archive]):
    with (
        answering(Answer(200, PIXELS, {"Content-Length": "5000"})) as broken,
        pytest.raises(ArchiveError, match="is unreachable"),
    ):
        open_at(broken.endpoint).verify("a", digest(PIXELS))


def test_many_threads_verify_at_once(archive: S3Archive, folder: str):
    contents = {f"{folder}{number}": b"%d" % number for number in range(60)}
    for key, content in contents.items():
        store(archive, key, content)
    boto3_client(archive).put_object(Bucket=BUCKET, Key=f"{folder}7", Body=b"X")
    boto3_client(archive).delete_object(Bucket=BUCKET, Key=f"{folder}8")
    with ThreadPoolExecutor(8) as pool:
        verdicts = dict(
            zip(contents, pool.map(lambda key: archive.verify(key, digest(contents[key])), contents), strict=True)
        )
    assert {key: verdict for key, verdict in verdicts.items() if verdict is not Verdict.INTACT} == {
        f"{folder}7": Verdict.CHANGED,
        f"{folder}8": Verdict.MISSING,
    }
