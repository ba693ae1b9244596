"""A sheet of a shop that was submitted, and what came of it: archived grids, an upscale, a refused row."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from PIL import Image

from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, failure, new, success
from tests.worker.ledger.purses import NO_CAP
from worker.archive import Archive
from worker.generation import GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Stored
from worker.ledger.generations import NewGeneration
from worker.ledger.lineage import dedupe_of_follow_up
from worker.ledger.submission import Claim, Submitted

#: what a spreadsheet, a browser or a shell would take for something else
EVIL = '=HYPERLINK("http://evil.example","<script>alert(1)</script>")'


def row(number: int, key: str | None, prompt: str, **facts: object) -> NewGeneration:
    made = new(prompt, key=key, options=facts.pop("options", {}))
    return replace(made, row_number=number, input={"name": f"Größe {number}", **facts})


def sheet() -> list[NewGeneration]:
    return [
        row(1, "0041", "a lamp, white background"),
        row(2, "0042/1", "a red chair", name=EVIL, _choice="red"),
        row(2, "0042/2", "a blue chair", name=EVIL, _choice="blue"),
        row(3, "0043", "a forbidden vase", options={"version": "7", "images": ["https://shop.example/v.png"]}),
        row(4, "0044", "a table"),
    ]


def submit(ledger: Ledger, rows: Sequence[NewGeneration], name: str = "shop") -> str:
    """Create the batch; its id."""
    return str(ledger.generations.create(rows, name)[0].batch_id)


def go(ledger: Ledger) -> dict[str, Claim]:
    """All that is queued is accepted by the provider; by prompt."""
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    claims = ledger.submissions.claim(1000, LEASE)
    ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)
    return {f"{one.generation.prompt} {one.generation.action or ''}".strip(): one for one in claims}


def succeed(ledger: Ledger, archive: Archive | None, claim: Claim, links: int = 1) -> None:
    """It succeeds, and its images are stored; without an archive only in the ledger."""
    ledger.generations.apply_outcomes([success(claim, links=links)])
    claims = ledger.assets.claim(100, LEASE)
    ledger.assets.record([_stored(archive, one) for one in claims])


def follow_up(ledger: Ledger, parent: Claim, action: str) -> None:
    request = GenerationRequest(operation=Operation.UPSCALE, prompt=parent.generation.prompt, action=action)
    child = NewGeneration(
        provider=PROVIDER,
        request=request,
        parent_id=parent.generation.id,
        depth=1,
        batch_id=parent.generation.batch_id,
        dedupe=dedupe_of_follow_up(parent.generation.id, action),
    )
    ledger.generations.create([child])


def a_shop(ledger: Ledger, archive: Archive | None, **columns: str) -> str:
    """Create the batch `shop`, with these columns besides; its id.

    0041 has two images and an upscale, 0042/1 an image, 0043 is refused, the others are under way.
    """
    batch_id = submit(ledger, [replace(one, input={**one.input, **columns}) for one in sheet()])
    claims = go(ledger)
    succeed(ledger, archive, claims["a lamp, white background"], links=2)
    succeed(ledger, archive, claims["a red chair"])
    ledger.generations.apply_outcomes([failure(claims["a forbidden vase"])])
    follow_up(ledger, claims["a lamp, white background"], "upscale1")
    succeed(ledger, archive, go(ledger)["a lamp, white background upscale1"])
    return batch_id


@cache
def picture(seed: str) -> bytes:
    out = io.BytesIO()
    colour = hashlib.sha256(seed.encode()).digest()[:3]
    Image.new("RGB", (640, 480), tuple(colour)).save(out, "PNG")
    return out.getvalue()


def _stored(archive: Archive | None, claim: ArchiveClaim) -> Archived:
    generation = claim.generation
    results = []
    for asset in claim.assets:
        content = picture(f"{generation.key} {generation.action} {asset.index}")
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"pictures/{generation.key or 'upscaled'}-{generation.action}-{asset.index}.png"
        if archive is not None:
            key = archive.keys.asset(generation, claim.lineage, asset.index, "png")
            archive.store(
                key,
                io.BytesIO(content),
                sha256=sha256,
                size=len(content),
                content_type="image/png",
                metadata={},
                filename="a.png",
                tags={},
            )
        results.append(
            Stored(
                index=asset.index,
                object_key=key,
                sha256=sha256,
                bytes=len(content),
                content_type="image/png",
                width=640,
                height=480,
            )
        )
    return Archived(claim, tuple(results), described=True)
