"""How the bucket is asked to keep an object; what it does not know costs no picture, unless it is encryption."""

import logging
from collections.abc import Callable

import pytest

from tests.s3 import BUCKET, Server, boto3_client
from tests.worker.archive.answers import Answer, answering
from tests.worker.archive.storing import store
from worker.archive import Keeping
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.settings.settings import load_settings

STORED = Answer(200)
OPTIONAL = {"x-amz-tagging", "if-none-match", "x-amz-checksum-sha256"}


def refused(code: str, status: int) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code></Error>".encode())


NOT_IMPLEMENTED = refused("NotImplemented", 501)
DENIED = refused("AccessDenied", 403)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"2026/11/21/{request.node.originalname}/gen_1/0.png"


def test_the_settings_say_how_an_object_is_kept(moto: Server, open_at: Callable[..., S3Archive], key: str):
    archive = open_at(moto.endpoint, keeping=Keeping("aws:kms", "alias/pictures", "STANDARD_IA"))
    store(archive, key, filename="crème-0.png", batch="Cats & dogs", provider="kie")
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key)
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "alias/pictures")
    assert found["StorageClass"] == "STANDARD_IA"
    assert found["ContentDisposition"] == "inline; filename=\"creme-0.png\"; filename*=UTF-8''cr%C3%A8me-0.png"
    tags = boto3_client(archive).get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"batch": "Cats _ dogs", "provider": "kie"}


def test_without_settings_the_bucket_decides(archive: S3Archive, key: str):
    store(archive, key, batch="cats")
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key)
    assert "ServerSideEncryption" not in found
    assert found.get("StorageClass", "STANDARD") == "STANDARD"


def test_a_sidecar_is_encrypted_too_but_is_too_small_for_another_class(open_at: Callable[..., S3Archive]):
    with answering(STORED) as bucket:
        archive = open_at(bucket.endpoint, keeping=Keeping("AES256", storage_class="STANDARD_IA"))
        archive.overwrite("generation.json", b"{}", content_type="application/json", metadata={})
    assert bucket.headers[0]["x-amz-server-side-encryption"] == "AES256"
    assert "x-amz-storage-class" not in bucket.headers[0]


def test_tags_can_be_turned_off(open_at: Callable[..., S3Archive], key: str):
    with answering(STORED) as bucket:
        store(open_at(bucket.endpoint, keeping=Keeping(tags=False)), key, batch="cats")
    assert "x-amz-tagging" not in bucket.headers[0]


@pytest.mark.parametrize("answer", [NOT_IMPLEMENTED, DENIED, refused("InvalidTag", 400), Answer(501)])
def test_a_store_that_refuses_tags_gets_the_picture_without_them_from_then_on(
    open_at: Callable[..., S3Archive], key: str, answer: Answer, caplog: pytest.LogCaptureFixture
):
    with answering(answer, STORED, STORED) as bucket, caplog.at_level(logging.WARNING):
        archive = open_at(bucket.endpoint)
        store(archive, key, batch="cats")
        store(archive, key, batch="cats")
    assert "x-amz-tagging" in bucket.headers[0]
    for headers in bucket.headers[-2:]:
        assert headers.keys() & OPTIONAL == OPTIONAL - {"x-amz-tagging"}
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["the bucket refuses tags"]


def test_a_store_that_refuses_all_extras_gets_the_picture_alone(open_at: Callable[..., S3Archive], key: str):
    with answering(*[NOT_IMPLEMENTED] * 3, STORED) as bucket:
        store(open_at(bucket.endpoint), key, batch="cats")
    assert not bucket.headers[-1].keys() & OPTIONAL


def test_encryption_that_is_refused_is_never_left_out(open_at: Callable[..., S3Archive], key: str):
    with answering(*[NOT_IMPLEMENTED] * 4) as bucket, pytest.raises(ConfigurationError, match="set S3_SSE=none"):
        store(open_at(bucket.endpoint, keeping=Keeping("AES256")), key, batch="cats")
    assert all(headers["x-amz-server-side-encryption"] == "AES256" for headers in bucket.headers)


def test_a_denied_put_is_told_as_such_and_nothing_is_learned_from_it(open_at: Callable[..., S3Archive], key: str):
    with answering(DENIED, DENIED, DENIED, STORED) as bucket:
        archive = open_at(bucket.endpoint)
        with pytest.raises(ConfigurationError, match="s3:PutObjectTagging"):
            store(archive, key, batch="cats")
        store(archive, key, batch="cats")
    assert "x-amz-tagging" in bucket.headers[-1]


def test_a_wrong_setting_is_named(open_at: Callable[..., S3Archive], key: str):
    with (
        answering(refused("KMS.NotFoundException", 400)) as bucket,
        pytest.raises(ConfigurationError, match="correct S3_SSE_KMS_KEY_ID"),
    ):
        store(open_at(bucket.endpoint), key)


def test_a_storage_class_that_is_refused_costs_no_picture(open_at: Callable[..., S3Archive], key: str):
    with answering(refused("InvalidStorageClass", 400), STORED) as bucket:
        store(open_at(bucket.endpoint, keeping=Keeping(storage_class="COLD")), key, batch="cats")
    assert bucket.headers[0].keys() - bucket.headers[1].keys() == {"x-amz-storage-class"}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert load_settings().s3_keeping == Keeping()
    for name, value in {"SSE": "aws:kms", "SSE_KMS_KEY_ID": "k", "STORAGE_CLASS": "GLACIER_IR", "TAGS": "no"}.items():
        monkeypatch.setenv(f"S3_{name}", value)
    assert load_settings().s3_keeping == Keeping("aws:kms", "k", "GLACIER_IR", tags=False)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("S3_SSE_KMS_KEY_ID", "k", "but S3_SSE is none: set it to aws:kms"),
        ("S3_SSE", "AES", "S3_SSE: "),
        ("S3_STORAGE_CLASS", "DEEP_ARCHIVE", "S3_STORAGE_CLASS: reading objects in DEEP_ARCHIVE takes hours"),
        ("S3_STORAGE_CLASS", "cold\r\nx: y", "S3_STORAGE_CLASS: "),
    ],
)
def test_a_setting_that_cannot_be_kept_is_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, words: str
):
    monkeypatch.setenv(setting, value)
    with pytest.raises(ConfigurationError, match=words):
        load_settings()


def test_a_checksum_that_does_not_match_is_not_taken_for_an_unknown_one(open_at: Callable[..., S3Archive], key: str):
    with answering(refused("BadDigest", 400)) as bucket, pytest.raises(ArchiveError, match="BadDigest"):
        store(open_at(bucket.endpoint), key)
    assert bucket.answers == []
