"""What is wrong with the settings or the network, and what a person is told."""

import hashlib
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.s3 import BUCKET, SECRET_KEY, Server
from tests.worker.archive import storing
from tests.worker.archive.answers import SLOW_DOWN, Answer, answering
from worker.archive import StoredAsset, Verified
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveConflict, ArchiveError, ConfigurationError

PIXELS = b"pixels" * 100_000
KEY = "2026/11/21/single/gen_1/0.png"


def store(archive: S3Archive, **tags: str) -> StoredAsset:
    return storing.store(archive, KEY, PIXELS, **tags)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.signed_requests.time.sleep", lambda seconds: None)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def said(error: BaseException) -> str:
    """All that a log would show of it."""
    return "".join(traceback.format_exception(error))


def test_a_wrong_secret_names_the_setting(
    rclone: Server, open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    archive = open_at(rclone.endpoint)
    with pytest.raises(ConfigurationError, match=f'Bucket "{BUCKET}" at {rclone.endpoint} was refused.*SECRET_ACCESS'):
        archive.check()
    with pytest.raises(
        ConfigurationError, match=f'"{KEY}" in bucket "{BUCKET}" .*correct AWS_SECRET_ACCESS_KEY'
    ) as put:
        store(archive)
    assert "wrong-secret" not in said(put.value)
    assert "X-Amz" not in said(put.value)


def test_an_unknown_access_key_names_the_setting(
    rclone: Server, open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNOBODY")
    archive = open_at(rclone.endpoint)
    with pytest.raises(ConfigurationError, match="correct AWS_ACCESS_KEY_ID"):
        archive.check()
    with pytest.raises(ConfigurationError, match="correct AWS_ACCESS_KEY_ID"):
        store(archive)


def test_missing_credentials_name_the_settings(
    rclone: Server, open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_at(rclone.endpoint).check()


def test_half_a_credential_names_the_other_half(open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="missing: AWS_SECRET_ACCESS_KEY"):
        open_at("http://127.0.0.1:9")


def test_a_bucket_that_is_not_there_is_named(server: Server, open_at: Callable[..., S3Archive]):
    archive = open_at(server.endpoint, bucket="nowhere")
    with pytest.raises(ConfigurationError, match=r'"nowhere" at .*: create the bucket, or correct S3_BUCKET'):
        archive.check()
    with pytest.raises(ConfigurationError, match=r'"nowhere" at .*: create the bucket, or correct S3_BUCKET'):
        store(archive)


def test_a_name_that_no_bucket_can_have_is_named(server: Server, open_at: Callable[..., S3Archive]):
    with pytest.raises(ConfigurationError, match='Invalid bucket name "my photos!"'):
        open_at(server.endpoint, bucket="my photos!").check()


def test_an_endpoint_that_does_not_answer_is_named(open_at: Callable[..., S3Archive]):
    endpoint = f"http://127.0.0.1:{unused_port()}"
    archive = open_at(endpoint)
    with pytest.raises(ConfigurationError, match=f"{endpoint} is unreachable .*; check AWS_ENDPOINT_URL"):
        archive.check()
    with pytest.raises(ArchiveError, match=f"{endpoint} is unreachable") as put:
        store(archive)
    assert "X-Amz" not in said(put.value)
    assert SECRET_KEY not in said(put.value)
    with pytest.raises(ArchiveError, match=f"{endpoint} is unreachable"):
        archive.verify(KEY, "00")


def test_an_endpoint_that_is_no_address_is_refused_at_once(open_at: Callable[..., S3Archive]):
    with pytest.raises(ConfigurationError, match=r"AWS_.* Invalid endpoint: minio:9000"):
        open_at("minio:9000")


@pytest.mark.parametrize("status", [301, 400, 200])
def test_a_bucket_in_another_region_names_the_region(
    open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch, status: int
):
    elsewhere = Answer(status, headers={"x-amz-bucket-region": "eu-west-1"})
    # After a 400 it is asked why, which a HEAD cannot tell.
    asked = [elsewhere] * (2 if status == 400 else 1)
    with answering(*asked, Answer(200, headers=elsewhere.headers)) as amazon:
        monkeypatch.setenv("HTTP_PROXY", amazon.endpoint)
        with pytest.raises(
            ConfigurationError, match='"photos" is in region eu-west-1: set AWS_DEFAULT_REGION=eu-west-1'
        ):
            open_at("http://s3.us-east-1.amazonaws.com").check()
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        open_at("http://s3.eu-west-1.amazonaws.com").check()


def test_a_put_to_another_region_is_not_redirected(open_at: Callable[..., S3Archive]):
    with (
        answering(Answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", {"Location": "/"})) as store_server,
        pytest.raises(ConfigurationError, match="another region: set AWS_DEFAULT_REGION"),
    ):
        store(open_at(store_server.endpoint))


@pytest.mark.parametrize("trouble", [SLOW_DOWN, Answer(500), Answer(409), None])
def test_a_passing_trouble_is_passed_with_the_whole_file_sent_again(
    open_at: Callable[..., S3Archive], trouble: Answer | None
):
    with answering(trouble, trouble, Answer(200)) as busy:
        store(open_at(busy.endpoint))
    assert busy.bodies == [PIXELS] * 3


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (SLOW_DOWN, "answered SlowDown"),
        (Answer(502, b"oops"), "answered 502"),
        (None, KEY),
    ],
)
def test_a_lasting_trouble_may_be_tried_again_later(
    open_at: Callable[..., S3Archive], trouble: Answer | None, words: str
):
    with answering(trouble, trouble, trouble) as busy, pytest.raises(ArchiveError, match=words):
        store(open_at(busy.endpoint))
    assert len(busy.bodies) == 3


def test_an_object_that_vanishes_before_it_is_compared_may_be_stored_again(open_at: Callable[..., S3Archive]):
    with answering(Answer(412), Answer(404)) as odd, pytest.raises(ArchiveError, match="was deleted while"):
        store(open_at(odd.endpoint))


@pytest.mark.parametrize("written", [hashlib.sha256(PIXELS).hexdigest(), "00", None])
def test_what_lies_there_is_compared_by_its_bytes_whatever_is_written_beside_it(
    open_at: Callable[..., S3Archive], written: str | None
):
    beside = {"X-Amz-Meta-Sha256": written} if written else {}
    with answering(Answer(412), Answer(200, PIXELS, beside)) as bucket:
        assert store(open_at(bucket.endpoint)).verified is Verified.BYTES
    with (
        answering(Answer(412), Answer(200, b"other", beside)) as bucket,
        pytest.raises(
            ArchiveConflict,
            match=r"has different bytes: .*; move that object elsewhere so that these bytes can be stored",
        ),
    ):
        store(open_at(bucket.endpoint))


def test_a_put_that_was_refused_is_not_repeated(open_at: Callable[..., S3Archive]):
    with (
        answering(Answer(400, b"<Error><Code>BadDigest</Code></Error>")) as strict,
        pytest.raises(ArchiveError, match="answered BadDigest"),
    ):
        store(open_at(strict.endpoint))


def test_puts_go_through_the_proxy_that_boto3_uses(open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch):
    with answering(Answer(200), Answer(200)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
        archive = open_at("http://s3.example.invalid")
        archive.check()
        store(archive)
    check, put = proxy.lines
    assert check.startswith("HEAD http://s3.example.invalid/photos ")
    assert put.startswith(f"PUT http://s3.example.invalid/photos/{KEY} ")


def test_the_endpoint_of_s3_wins_over_that_of_all_services(
    server: Server, open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    open_at(f"http://127.0.0.1:{unused_port()}").check()


def test_the_addressing_style_that_a_person_configured_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_at: Callable[..., S3Archive]
):
    assert open_at("http://store.example").url("a").startswith("http://store.example/photos/a?")
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n    addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert open_at("http://store.example").url("a").startswith("http://photos.store.example/a?")
