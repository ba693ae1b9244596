"""Stores with manners of their own: what they refuse is left out, and nothing counts as stored that is not there."""

import dataclasses
import io
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tests.s3 import BUCKET
from tests.worker.archive.answers import Answer, answering
from tests.worker.archive.flavours import B2, CEPH, FLAVOURS, MINIO, MUTE, OSS, R2, Manners, store_with
from tests.worker.archive.storing import PIXELS, digest, store
from worker.archive import Keeping, Keys, Verdict, Verified, open_archive
from worker.archive.keeping import Extra
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.settings.settings import load_settings

KEY = "2026/11/28/single/gen_1/0.png"
#: in three parts, for `small_parts`
FILM = PIXELS * 2 + b"end"
PORTAL = Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})

Open = Callable[..., S3Archive]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.archive.s3.LARGE", len(PIXELS))
    monkeypatch.setattr("worker.archive.multipart.PART", len(PIXELS))
    monkeypatch.setattr("worker.archive.signed_requests.time.sleep", lambda seconds: None)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name under oss.test leads here."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: resolve("127.0.0.1" if host.endswith("oss.test") else host, *rest, **more),
    )


def refusing(code: str, status: int = 400, words: str = "") -> Manners:
    """Whatever is put, as long as it has a checksum."""
    return Manners({"x-amz-checksum": (status, code, words)})


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("minio", Verified.CHECKSUM, Verified.CHECKSUM),
        ("b2", Verified.ETAG, Verified.ETAG),
        ("r2", Verified.CHECKSUM, Verified.CHECKSUM),
        ("ceph", Verified.ETAG, Verified.ETAG),
        ("mute", Verified.ETAG, Verified.ETAG),
    ],
)
def test_every_store_keeps_pictures_sidecars_and_films(open_at: Open, name: str, small: Verified, large: Verified):
    with store_with(FLAVOURS[name]) as bucket:
        archive = open_at(bucket.endpoint, keeping=Keeping(storage_class="STANDARD_IA"))
        archive.check()
        assert store(archive, KEY, batch="cats").verified is small
        assert store(archive, "film.mp4", FILM, batch="cats").verified is large
        assert archive.overwrite("generation.json", b"{}", content_type="a/b", metadata={}).verified is small
        assert archive.overwrite("generation.json", b"{ }", content_type="a/b", metadata={}).verified is small
        assert bucket.objects == {
            f"/photos/{KEY}": PIXELS,
            "/photos/film.mp4": FILM,
            "/photos/generation.json": b"{ }",
        }
        assert archive.verify("film.mp4", digest(FILM)) is Verdict.INTACT


def test_what_a_store_names_is_left_out_from_then_on_and_nothing_else(open_at: Open):
    with store_with(B2) as bucket:
        archive = open_at(bucket.endpoint)
        store(archive, KEY, batch="cats")
        assert bucket.count("PUT") == 3
        store(archive, "another", batch="cats")
        store(archive, "film", FILM, batch="cats")
    assert [status for method, _, status in bucket.log if method != "GET"] == [400, 400] + [200] * 7
    assert bucket.headers["/photos/another"]["if-none-match"] == "*"


def test_of_what_a_mute_store_may_mind_only_that_is_left_out_in_the_end_which_it_minds(open_at: Open):
    with store_with(refusing("NotImplemented", 501)) as bucket:
        archive = open_at(bucket.endpoint, keeping=Keeping(storage_class="COLD"))
        for number in range(5):
            store(archive, str(number), batch="cats")
        assert bucket.count("PUT") <= 5 + 3
    last = bucket.headers["/photos/4"]
    assert (last["x-amz-tagging"], last["x-amz-storage-class"], last["if-none-match"]) == ("batch=cats", "COLD", "*")
    assert archive._extras.refused == {Extra.CHECKSUM}


def test_a_store_that_minds_all_and_says_nothing_is_understood_in_few_requests(open_at: Open):
    with store_with(MUTE) as bucket:
        archive = open_at(bucket.endpoint)
        for number in range(4):
            store(archive, str(number), batch="cats")
        assert bucket.count("PUT") <= 4 + 6
    assert archive._extras.refused == {Extra.TAGS, Extra.CHECKSUM, Extra.CONDITION}


def test_many_threads_find_out_together_what_one_would(open_at: Open):
    with store_with(B2) as bucket, ThreadPoolExecutor(8) as pool:
        archive = open_at(bucket.endpoint)
        list(pool.map(lambda number: store(archive, str(number), batch="cats"), range(24)))
    assert len(bucket.objects) == 24
    # Each thread may be refused once before it is known, and one tries twice more.
    assert bucket.count("PUT") <= 24 + 8 + 2


@pytest.mark.parametrize(
    "code",
    [
        "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "EntityTooLarge",
        "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired", "ExpiredToken", "InvalidAccessKeyId",
        "InvalidToken", "EntityTooSmall", "IncompleteBody", "RequestTimeout", "QuotaExceeded", "NoSuchBucket",
        "KMS.DisabledException",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_of_the_bytes_the_clock_or_the_keys_leaves_nothing_out(open_at: Open, code: str, status: int):
    with store_with(refusing(code, status)) as bucket:
        archive = open_at(bucket.endpoint)
        with pytest.raises((ArchiveError, ConfigurationError), match=code):
            store(archive, KEY, batch="cats")
        assert bucket.count("PUT") == 1


def test_words_about_other_bytes_leave_nothing_out_whatever_their_code_is(open_at: Open):
    with store_with(refusing("InvalidRequest", words="The x-amz-checksum-sha256 did not match the body.")) as bucket:
        with pytest.raises(ArchiveError, match="InvalidRequest"):
            store(open_at(bucket.endpoint), KEY)
        assert bucket.count("PUT") == 1


@pytest.mark.parametrize("words", ["", "not authorized to perform: s3:PutObjectTagging"])
def test_wrong_keys_cost_two_more_requests_a_minute(open_at: Open, monkeypatch: pytest.MonkeyPatch, words: str):
    everything = Manners({"host": (403, "AccessDenied", words)})
    now = time.monotonic()
    with store_with(everything) as bucket, ThreadPoolExecutor(8) as pool:
        archive = open_at(bucket.endpoint)

        def refused(number: int) -> None:
            with pytest.raises(ConfigurationError, match="AccessDenied"):
                store(archive, str(number), FILM if number % 2 else PIXELS, batch="cats")

        for minute in (1, 2):
            list(pool.map(refused, range(16)))
            assert bucket.count("PUT") + bucket.count("POST") <= 18 * minute
            monkeypatch.setattr("worker.archive.extras.time", SimpleNamespace(monotonic=lambda: now + 1000))
        assert archive._extras.refused == set()


@pytest.mark.parametrize(
    ("hashes", "how", "asked"),
    [(True, Verified.HEAD, ["PUT", "HEAD"]), (False, Verified.BYTES, ["PUT", "HEAD", "GET"])],
)
def test_an_object_without_checksum_and_md5_is_looked_at_again(
    open_at: Open, hashes: bool, how: Verified, asked: list[str]
):
    with store_with(dataclasses.replace(CEPH, opaque=True, hashes=hashes)) as bucket:
        archive = open_at(bucket.endpoint)
        store(archive, "first")
        bucket.log.clear()
        assert store(archive, KEY).verified is how
        assert [method for method, *_ in bucket.log] == asked
        assert store(archive, "film", FILM).verified is Verified.BYTES


@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("content", [PIXELS, FILM], ids=["small", "in parts"])
def test_an_object_that_broke_on_its_way_does_not_count_as_stored(open_at: Open, opaque: bool, content: bytes):
    breaking = dataclasses.replace(CEPH, opaque=opaque, breaks=bytes.swapcase)
    with store_with(breaking) as bucket:
        archive = open_at(bucket.endpoint)
        with pytest.raises(ArchiveError, match=r'reported success for "x", but its bytes have SHA-256'):
            store(archive, "x", content)
        with pytest.raises(ArchiveError, match="reported success for"):
            archive.overwrite("generation.json", b"{'a'}", content_type="a/b", metadata={})


def test_bytes_that_changed_on_our_side_do_not_count_as_stored_either(open_at: Open):
    with store_with(CEPH) as bucket, pytest.raises(ArchiveError, match="changed while they were being stored"):
        store(open_at(bucket.endpoint), KEY, PIXELS, io.BytesIO(PIXELS.swapcase()))


@pytest.mark.parametrize("headers", [{}, {"ETag": '"page"'}])
def test_a_page_of_somebody_on_the_way_does_not_count_as_stored(open_at: Open, headers: dict[str, str]):
    with (
        answering(*[dataclasses.replace(PORTAL, headers=headers)] * 3) as portal,
        pytest.raises(ArchiveError, match="reported success for"),
    ):
        store(open_at(portal.endpoint), KEY)


def test_a_page_instead_of_a_completion_does_not_count_as_stored(open_at: Open):
    missing, created = Answer(404), Answer(200, b"<UploadId>u</UploadId>")
    with (
        answering(missing, created, *[Answer(200)] * 3, PORTAL, missing) as portal,
        pytest.raises(ArchiveError, match='reported success for "film", but there is no such object'),
    ):
        store(open_at(portal.endpoint), "film", FILM)
    assert portal.answers == []


def test_a_412_to_what_has_no_condition_does_not_count_as_stored(open_at: Open):
    with answering(Answer(412)) as odd, pytest.raises(ArchiveError, match="answered 412"):
        open_at(odd.endpoint).overwrite("generation.json", b"{}", content_type="a/b", metadata={})


def test_a_store_that_wants_the_bucket_in_the_host_gets_it_there_by_itself(open_at: Open, names: None):
    with store_with(OSS) as bucket:
        archive = open_at(f"http://oss.test:{bucket.server_port}")
        archive.check()
        store(archive, KEY, batch="cats")
        store(archive, "film", FILM)
        assert archive.verify(KEY, digest(PIXELS)) is Verdict.INTACT
        assert archive.url(KEY).startswith(f"http://photos.oss.test:{bucket.server_port}/{KEY}?")
    assert bucket.objects == {f"/{KEY}": PIXELS, "/film": FILM}
    assert [status for *_, status in bucket.log].count(403) == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda archive: store(archive, KEY),
        lambda archive: archive.verify(KEY, digest(PIXELS)),
        lambda archive: archive.delete(KEY, digest(PIXELS)),
        lambda archive: list(archive.list("")),
        lambda archive: archive.probe(),
    ],
    ids=["store", "verify", "delete", "list", "probe"],
)
def test_whatever_is_asked_first_finds_out_where_the_bucket_wants_to_be_named(
    open_at: Open, names: None, ask: Callable[[S3Archive], object]
):
    with store_with(OSS) as bucket:
        archive = open_at(f"http://oss.test:{bucket.server_port}")
        ask(archive)
    assert archive.url(KEY).startswith("http://photos.oss.test")
    assert bucket.log[-1][2] != 403


@pytest.mark.parametrize(("host", "addressing"), [("127.0.0.1", "auto"), ("oss.test", "path")])
def test_a_store_that_cannot_be_addressed_as_it_wants_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, names: None, host: str, addressing: str
):
    with store_with(OSS) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{bucket.server_port}")
        archive = S3Archive(BUCKET, addressing=addressing)
        with pytest.raises(
            ConfigurationError, match="requires the bucket's name in the host: set S3_ADDRESSING=virtual"
        ):
            archive.check()
        with pytest.raises(ConfigurationError, match="S3_ADDRESSING=virtual"):
            store(archive, KEY)
        archive.close()


def test_the_setting_puts_the_bucket_into_the_host_at_once(monkeypatch: pytest.MonkeyPatch, names: None):
    with store_with(OSS) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://oss.test:{bucket.server_port}")
        monkeypatch.setenv("S3_ADDRESSING", "virtual")
        archive = open_archive(BUCKET, Keys(), Keeping(), load_settings().s3_addressing)
        archive.check()
        assert [status for *_, status in bucket.log] == [200]
        assert not any("S3_ADDRESSING" in told for told in archive.probe())
        archive.close()


@pytest.mark.parametrize(
    ("manners", "told"),
    [
        (MINIO, ["tags", "broken"]),
        (B2, ["tags", "a SHA-256 with an object: each is compared by its ETag, which is the MD5"]),
        (R2, ["tags", "broken"]),
        (CEPH, ["tags", "refuses the storage class COLD: correct S3_STORAGE_CLASS", "not accept a SHA-256"]),
        (dataclasses.replace(CEPH, opaque=True), ["tags", "storage class", "each is read back after it is stored"]),
        (
            dataclasses.replace(CEPH, hashes=True, opaque=True),
            ["tags", "storage class", "that the store reports afterwards"],
        ),
        (MUTE, ["tags", "not accept a SHA-256", "overwrites", "unconditionally"]),
        (OSS, ["tags", "broken", "overwrites", "unconditionally", "set S3_ADDRESSING=virtual"]),
    ],
)
def test_the_doctor_is_told_what_is_left_out_and_done_instead(
    open_at: Open, names: None, manners: Manners, told: list[str]
):
    words = {"broken": "accepts bytes that do not match", "tags": "does not keep tags"}
    with store_with(manners) as bucket:
        archive = open_at(f"http://oss.test:{bucket.server_port}", keeping=Keeping(storage_class="COLD"))
        if manners.forbids_path is None:
            archive = open_at(bucket.endpoint, keeping=Keeping(storage_class="COLD"))
        found = archive.probe()
        assert bucket.objects == {}
    assert len(found) == len(told)
    for sentence, word in zip(found, told, strict=True):
        assert words.get(word, word) in sentence
