"""Refused bytes without a command line."""

import hashlib
import io

import pytest

from tasks.usecases.accept import AcceptRequest, AssetChoice, RefusedBytes, accept, look_at_refused
from tasks.usecases.person import person
from tests.tasks.cli import stories
from worker.errors import NotFound
from worker.generation import Refused
from worker.ledger.assets import Archived, Lost
from worker.services import Services

SPOILED = b"\x89PNG\r\n\x1a\n and then nothing that can be drawn"


def refused(here: Services) -> str:
    """A generation whose only asset was lost, because its bytes were refused; they lie aside."""
    generation_id = stories.succeeded(here.ledger)
    (claim,) = here.ledger.assets.claim(1, stories.MINUTE)
    aside = Refused(len(SPOILED), hashlib.sha256(SPOILED).hexdigest(), "text/html", "it is cut off")
    here.ledger.assets.record([Archived(claim, (Lost(0, "refused", refused=aside),), described=False)])
    here.archive.store(
        here.archive.keys.rejected(generation_id, 0),
        io.BytesIO(SPOILED),
        sha256=aside.sha256,
        size=aside.bytes,
        content_type="application/octet-stream",
        metadata={},
        filename="refused.bin",
        tags={},
    )
    return generation_id


def test_a_look_tells_what_they_are_and_changes_nothing(here_with_bucket: Services) -> None:
    here = here_with_bucket
    generation_id = refused(here)
    before = here.ledger.generations.assets_of([generation_id])
    ((found,), nothing) = look_at_refused(here, (AssetChoice(generation_id), AssetChoice(generation_id, 7)))
    assert (found.index, found.bytes, found.content_type) == (0, len(SPOILED), "image/png")
    assert (found.declared_type, found.refused, found.trouble) == ("text/html", "it is cut off", None)
    assert found.link is not None
    assert nothing == ()
    assert here.ledger.generations.assets_of([generation_id]) == before


def test_what_is_accepted_waits_for_the_archive(here_with_bucket: Services) -> None:
    here = here_with_bucket
    generation_id = refused(here)
    request = AcceptRequest((AssetChoice(generation_id, 0),), person("ada", "it is only cut off"))
    told: list[tuple[AssetChoice, tuple[RefusedBytes, ...]]] = []
    for _ in range(2):
        accept(here, request, lambda *one: told.append(one))
        choice, (accepted,) = told.pop()
        assert choice == request.choices[0]
        assert accepted.sha256 == hashlib.sha256(SPOILED).hexdigest()
    (asset,) = here.ledger.generations.assets_of([generation_id])[generation_id]
    assert (asset.state, asset.accepted and asset.accepted.by) == ("waiting", "ada")


def test_one_unknown_generation_keeps_all_from_being_accepted(here_with_bucket: Services) -> None:
    here = here_with_bucket
    generation_id = refused(here)
    choices = (AssetChoice(generation_id), AssetChoice("gen_unknown"))
    with pytest.raises(NotFound, match="gen_unknown"):
        accept(here, AcceptRequest(choices, person("ada")), lambda *_: pytest.fail("nothing is accepted"))
    (asset,) = here.ledger.generations.assets_of([generation_id])[generation_id]
    assert asset.accepted is None
