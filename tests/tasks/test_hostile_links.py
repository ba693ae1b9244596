"""What a forged or broken result can be, through the whole archiving step: nothing of it reaches the bucket as a
picture, nothing forbidden is reached, and `darkroom show` names the reason of each.
"""

import gzip
import io
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tasks.archive import MAX_TRIES
from tasks.cli import cli
from tests.factories import claimed
from tests.pipeline import Pipeline, starting
from tests.s3 import Server
from tests.worker.downloads.test_download import ok, reply, serving
from worker.downloads import download
from worker.generation import Lineage, Link, Outcome, State, Status
from worker.ledger.outcome import News

METADATA = "http://169.254.169.254/latest/meta-data/"


def _png() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((32, 32), 50).save(file, "PNG")
    return file.getvalue()


PNG = _png()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _bomb() -> bytes:
    """30,000 x 30,000 pixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(30_001) * 100, 9)
    return PNG[:8] + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _drip(_request: bytes) -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    while True:
        yield b"x"


#: what the server answers, and the reason that is shown
ANSWERS = {
    "truncated": (lambda _: [ok(PNG)[:-40]], r"truncated: "),
    "html as png": (ok(b"<!doctype html><h1>sorry</h1>", "Content-Type: image/png"), r"is an HTML page"),
    "svg": (ok(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"), r"an SVG drawing"),
    "empty": (ok(b""), r"the file is empty"),
    "wrong length": (lambda _: [ok(PNG).replace(b"Length: ", b"Length: 9")], r"truncated: "),
    "decompression bomb": (ok(_bomb()), r"30000 x 30000 pixels"),
    "gzip bomb": (
        ok(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip"),
        r"larger than the limit of 4,194,304 bytes",
    ),
    "brotli": (ok(b"\x8b\x00\x80\x03", "Content-Encoding: br"), r"with Content-Encoding 'br'"),
    "slow drip": (_drip, r"too slow: received .* bytes in"),
    "redirect to metadata": (reply("302 Found", f"Location: {METADATA}"), r"redirects to a forbidden address"),
}


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    monkeypatch.setattr(download, "_MAX_INTERRUPTIONS", 1)
    monkeypatch.setattr(download.Limits, "__init__", _hasty)
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as start:
        yield start()


_as_it_is = download.Limits.__init__


def _hasty(self: download.Limits, **_: float) -> None:
    _as_it_is(self, connect=2, read=1, grace=0.2, least=1e12, bytes=4 * 1024 * 1024)


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that anything tried to connect to."""
    addresses: list[str] = []
    connect = socket.socket.connect

    def noting(self: socket.socket, address: tuple[str, int]) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            addresses.append(address[0])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noting)
    return addresses


def archived_until_given_up(pipeline: Pipeline, url: str) -> str:
    """A forged success with this link, archived again and again until it is given up; what `darkroom show` says."""
    (claim,) = claimed(pipeline.ledger)
    outcome = Outcome(status=Status.SUCCEEDED, task_id="t1", links=(Link(url),))
    pipeline.ledger.generations.apply_outcomes(
        [
            News(
                attempt_id=claim.attempt_id,
                outcome=outcome,
                cause="callback",
                deadlines=(pipeline.clock() + timedelta(days=2),),
            )
        ]
    )
    for _ in range(MAX_TRIES + 2):
        pipeline.step("archive")
        pipeline.clock.advance(minutes=6)
    assert pipeline.get(claim.generation.id).state in {State.EXPIRED, State.SUCCEEDED}
    return CliRunner().invoke(cli, ["show", claim.generation.id], prog_name="darkroom").output


@pytest.mark.parametrize("kind", ANSWERS)
def test_it_is_never_archived_and_its_reason_is_shown(pipeline: Pipeline, reached: list[str], kind: str) -> None:
    answer, reason = ANSWERS[kind]
    with serving(answer) as server:
        shown = " ".join(archived_until_given_up(pipeline, f"http://127.0.0.1:{server.port}/a.png?hm=SECRET").split())
        pipeline.here.downloader.close()

    assert re.search(reason, shown), shown
    assert "SECRET" not in shown
    assert not [key for key in pipeline.objects() if "/rejected/" not in key]
    assert set(reached) == {"127.0.0.1"}


@pytest.mark.parametrize("answers", [["169.254.169.254"], ["127.0.0.1", "10.0.0.1"]], ids=["one", "several"])
def test_a_name_that_leads_to_a_forbidden_address_is_not_followed(
    pipeline: Pipeline, reached: list[str], monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *args: object, **options: object) -> object:
        if host != "cdn.acedata.cloud":
            return real(host, *args, **options)  # type: ignore[arg-type]
        return [found for answer in answers for found in real(answer, *args, **options)]  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    shown = archived_until_given_up(pipeline, "https://cdn.acedata.cloud/a.png?hm=SECRET")

    assert "forbidden address" in " ".join(shown.split())
    assert not {"169.254.169.254", "10.0.0.1"} & set(reached)
    assert pipeline.objects() == {}


def test_bytes_that_were_refused_for_good_lie_aside_for_a_look(pipeline: Pipeline) -> None:
    spoiled = PNG[:-20] + b"x" * 20
    with serving(ok(spoiled)) as server:
        shown = archived_until_given_up(pipeline, f"http://127.0.0.1:{server.port}/a.png")
        pipeline.here.downloader.close()

    ((key, content),) = pipeline.objects().items()
    assert content == spoiled
    assert key in "".join(shown.split())


def test_a_whole_picture_with_something_behind_it_is_stored_and_the_sidecar_says_so(pipeline: Pipeline) -> None:
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        is_late = b"late" in request and len(asked) < 4
        return reply("503 Later") if is_late else ok(PNG + b"<script>alert(1)</script>")

    (claim,) = claimed(pipeline.ledger)
    with serving(answer) as server:
        links = tuple(Link(f"http://127.0.0.1:{server.port}/{name}.png") for name in ("first", "late"))
        news = News(
            attempt_id=claim.attempt_id,
            outcome=Outcome(status=Status.SUCCEEDED, task_id="t1", links=links),
            cause="callback",
            deadlines=(pipeline.clock(),) * 2,
        )
        pipeline.ledger.generations.apply_outcomes([news])
        # The second one is stored by another claim, which knows of the first only what its bytes say.
        for _ in range(MAX_TRIES):
            pipeline.step("archive")
            pipeline.clock.advance(minutes=6)
        pipeline.here.downloader.close()

    assert pipeline.get(claim.generation.id).state is State.ARCHIVED
    described = pipeline.objects()[
        pipeline.here.archive.keys.sidecar(claim.generation, Lineage.of_root(claim.generation, None))
    ]
    remark = "25 bytes follow after the end of the PNG"
    assert [one["remark"] for one in json.loads(described)["assets"]] == [remark, remark]
    events = [event for event in pipeline.story(claim.generation.id).events if event.type == "asset.archived"]
    assert [event.payload["remark"] for event in events] == [remark, remark]
