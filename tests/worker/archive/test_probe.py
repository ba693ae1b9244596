"""What `darkroom doctor` is told about a store, and that nothing is left there."""

from collections.abc import Callable

import pytest

from tests.s3 import BUCKET, Server, boto3_client
from tests.worker.archive.answers import Answer, answering
from worker.archive import Keeping, Keys
from worker.archive.probe import _CONTENT
from worker.archive.s3 import S3Archive
from worker.errors import ConfigurationError

STORED = Answer(200)
NO_SUCH_KEY = Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
DENIED = Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
NOT_IMPLEMENTED = Answer(501, b"<Error><Code>NotImplemented</Code></Error>")
GIVEN = Answer(200, _CONTENT)
TAGGED = Answer(200, b"<TagSet><Tag><Key>generation</Key><Value>probe</Value></Tag></TagSet>")
BAD_DIGEST = Answer(400, b"<Error><Code>BadDigest</Code></Error>")
CREATED = Answer(200, b"<UploadId>u</UploadId>")
PART = Answer(200, headers={"ETag": '"1"'})
#: what a store answers that honours all
UP_TO_PARTS = [STORED, GIVEN, TAGGED, BAD_DIGEST, STORED, Answer(412)]
PARTS = [CREATED, PART, Answer(412), Answer(204)]
DELETED = [Answer(204), NO_SUCH_KEY]

TAGS = "does not keep tags: set S3_TAGS=false to send none"
HASH = "accepts bytes that do not match their SHA-256: only `darkroom verify` finds damage in transit"
CONDITION = "overwrites an existing object despite If-None-Match"
COMPLETION = "completes multipart uploads unconditionally: files above 16 MiB are compared beforehand instead"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.signed_requests.time.sleep", lambda seconds: None)


def found(*answers: Answer, open_at: Callable[..., S3Archive]) -> list[str]:
    with answering(*answers) as bucket:
        shortcomings = list(open_at(bucket.endpoint).probe())
    assert bucket.answers == []
    assert len({line.split()[1].partition("?")[0] for line in bucket.lines}) == 1
    return shortcomings


@pytest.mark.parametrize(("name", "expected"), [("rclone", [TAGS, HASH, CONDITION, COMPLETION]), ("moto", [HASH])])
def test_a_real_store_is_told_by_what_it_does_and_nothing_is_left(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str, expected: list[str]
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue(name).endpoint)
    archive = S3Archive(BUCKET, Keys(f"home/{name}"))
    assert [sentence.partition(": never share")[0] for sentence in archive.probe()] == expected
    assert list(archive.list("home/")) == []
    assert "Uploads" not in boto3_client(archive).list_multipart_uploads(Bucket=BUCKET)


def test_a_store_that_honours_all_has_no_shortcomings(open_at: Callable[..., S3Archive]):
    assert found(*UP_TO_PARTS, *PARTS, *DELETED, open_at=open_at) == []


def test_tags_that_may_not_be_read_back_are_believed(open_at: Callable[..., S3Archive]):
    put, read, _, *rest = UP_TO_PARTS
    assert found(put, read, DENIED, *rest, *PARTS, *DELETED, open_at=open_at) == []


def test_tags_that_are_not_sent_are_not_missed(rclone: Server, open_at: Callable[..., S3Archive]):
    assert TAGS not in open_at(rclone.endpoint, keeping=Keeping(tags=False)).probe()


def test_tags_that_are_refused_are_told(open_at: Callable[..., S3Archive]):
    _, read, _, *rest = UP_TO_PARTS
    assert found(DENIED, STORED, read, *rest, *PARTS, *DELETED, open_at=open_at) == [TAGS]


def test_a_store_without_uploads_in_parts_is_told(open_at: Callable[..., S3Archive]):
    answers = [*UP_TO_PARTS, *[NOT_IMPLEMENTED] * 3, *DELETED]
    assert found(*answers, open_at=open_at) == [
        "does not accept multipart uploads (NotImplemented): files above 16 MiB cannot be stored"
    ]


def test_an_object_that_may_not_be_deleted_is_named(open_at: Callable[..., S3Archive]):
    (shortcoming,) = found(*UP_TO_PARTS, *PARTS, DENIED, open_at=open_at)
    assert shortcoming.startswith("did not delete probe-")
    assert shortcoming.endswith(" (AccessDenied): delete it")
    (shortcoming,) = found(*UP_TO_PARTS, *PARTS, Answer(204), GIVEN, open_at=open_at)
    assert "as deleted, but still returns it" in shortcoming


def test_a_store_that_gives_back_other_bytes_is_refused_and_cleared(open_at: Callable[..., S3Archive]):
    with pytest.raises(ConfigurationError, match="came back with different bytes"):
        found(STORED, Answer(200, b"other"), *DELETED, open_at=open_at)


def test_a_bucket_that_takes_nothing_is_a_failure(open_at: Callable[..., S3Archive]):
    with pytest.raises(ConfigurationError, match=r"was refused .AccessDenied.: allow these credentials"):
        found(*[DENIED] * 4, open_at=open_at)
