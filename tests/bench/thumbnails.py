"""P14: CPU of the thumbnail step, against Pillow that makes the same of the same files and nothing else."""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
from PIL import Image

from tasks.thumbnail import thumbnail
from tests import s3
from tests.bench.machine import cpu_seconds
from tests.factories import LEASE, succeeded
from worker.generation import ThumbnailState
from worker.ledger.assets import ArchiveClaim, Archived, Stored
from worker.ledger.migrations import upgrade
from worker.media import decoding
from worker.services import Services, services

#: pixels a side, as Midjourney's single images have
SIZE = 1024
COUNT, ROUNDS = 40, 5
EDGE = 320


def run(kind: str) -> dict[str, float]:
    """Median seconds of CPU for an image of both, in turns, and their ratio. `kind`: Pillow's name of the format."""
    contents = [_image(kind, seed) for seed in range(4)]
    times: dict[str, list[float]] = {"ours": [], "pillow": []}
    with _here() as here:
        _keep(here, contents, 4)
        _drain(4)  # the decoder's child, connections and imports
        for _ in range(ROUNDS):
            _keep(here, contents, COUNT)
            times["ours"].append(_cpu(lambda: _drain(COUNT)) / COUNT)
            times["pillow"].append(_cpu(lambda: _by_pillow(contents)) / COUNT)
    ours, pillow = statistics.median(times["ours"]), statistics.median(times["pillow"])
    # Of each round by itself: what a busy machine adds to one half, it mostly adds to the other.
    ratio = statistics.median(one / other for one, other in zip(times["ours"], times["pillow"], strict=True))
    return {"ours": ours, "pillow": pillow, "ratio": ratio, "megabytes": statistics.mean(map(len, contents)) / 1e6}


@contextmanager
def _here() -> Iterator[Services]:
    # Other benches find the environment as it was; and nothing is left to a thread that goes on afterwards.
    with (
        mock.patch.dict(os.environ),
        mock.patch("tasks.thumbnail.SLICE", 600.0),
        tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder,
        s3.rclone_server(Path(folder)) as server,
    ):
        os.environ |= {
            **s3.bucket_of(server),
            "AWS_ENDPOINT_URL_S3": server.endpoint,
            "S3_PREFIX": "bench",
            "DARKROOM_DATA": folder,
            "DATABASE_URL": f"sqlite:///{folder}/ledger.sqlite3",
            # Nobody listens: wake-ups are not sent.
            "REDIS_URL": "redis://127.0.0.1:1",
        }
        services.cache_clear()
        here = services()
        upgrade(here.ledger.database)
        try:
            yield here
        finally:
            here.close()
            services.cache_clear()
            decoding._decoder.close()


def _keep(here: Services, contents: Sequence[bytes], count: int) -> None:
    """So many generations, each with one of these images in the bucket, whose thumbnail is wanted."""
    succeeded(here.ledger, count)
    claims = here.ledger.assets.claim(count, LEASE)
    done = [_kept(here, claim, contents[place % len(contents)]) for place, claim in enumerate(claims)]
    here.ledger.assets.record(done, thumbnails=True)


def _kept(here: Services, claim: ArchiveClaim, content: bytes) -> Archived:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    key = here.archive.keys.asset(claim.generation, claim.lineage, 0, kind)
    stored = here.archive.overwrite(key, content, content_type=f"image/{kind}", metadata={})
    facts = {name: getattr(stored, name) for name in ("object_key", "sha256", "bytes", "content_type")}
    return Archived(claim, (Stored(index=0, width=SIZE, height=SIZE, **facts),), described=True)


def _drain(count: int) -> None:
    here = services()
    while here.ledger.maintenance.is_due(thumbnail.name):
        thumbnail.run()
    newest = [one.id for one in here.ledger.generations.page(limit=count)]
    made = [asset.thumbnail for assets in here.ledger.generations.assets_of(newest).values() for asset in assets]
    if {one.state if one else None for one in made} != {ThumbnailState.MADE}:
        raise SystemExit(f"thumbnails were not made: {made[:3]}")


def _by_pillow(contents: Sequence[bytes]) -> None:
    for place in range(COUNT):
        with Image.open(io.BytesIO(contents[place % len(contents)])) as image:
            image.draft("RGB", (EDGE, EDGE))
            image.thumbnail((EDGE, EDGE))
            image.convert("RGB").save(io.BytesIO(), "WEBP", quality=75)


def _cpu(work: Callable[[], object]) -> float:
    """Of this process and the decoder's child, which lives on."""
    before = _used()
    work()
    return _used() - before


def _used() -> float:
    child = decoding._decoder._child
    assert child is not None
    return time.process_time() + cpu_seconds(psutil.Process(child._process.pid))


def _image(kind: str, seed: int) -> bytes:
    """With areas, gradients and grain."""
    areas = Image.effect_mandelbrot((SIZE, SIZE), (-2 + seed / 9, -1.5, 1, 1.5), 100)
    gradient = Image.linear_gradient("L").resize((SIZE, SIZE))
    file = io.BytesIO()
    options = {"quality": 95} if kind == "JPEG" else {}
    Image.merge("RGB", (areas, gradient, Image.effect_noise((SIZE, SIZE), 20))).save(file, kind, **options)
    return file.getvalue()
