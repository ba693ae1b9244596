"""Each document names its fields; each field is read in one way, and no link that works gets into any of them."""

import json
from dataclasses import replace

import pytest

from tests.worker.archive.test_sidecar import ASSET, GENERATION, LINEAGE
from worker.archive import documents
from worker.archive.documents import KEPT, SHOWN, of_asset, of_generation

LINK = "https://cdn.discordapp.com/a/fox.png?ex=66aa&hm=0123456789abcdef"
SECRET = "0123456789abcdef"


def test_the_fields_come_in_the_order_in_which_they_are_named() -> None:
    assert list(of_generation(GENERATION, LINEAGE, ("prompt", "id", "batch"), SHOWN)) == ["prompt", "id", "batch"]
    assert list(of_asset(ASSET, ("sha256", "index"))) == ["sha256", "index"]


def test_a_field_that_no_document_has_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        of_generation(GENERATION, LINEAGE, ("handle",), SHOWN)
    with pytest.raises(KeyError):
        of_asset(ASSET, ("url",))


def test_what_is_shown_blots_a_signature_out_and_what_is_kept_cuts_it_off() -> None:
    wanted = replace(GENERATION, prompt=f"{LINK} a fox", options={"images": [LINK]})
    shown = of_generation(wanted, LINEAGE, ("prompt", "options"), SHOWN)
    kept = of_generation(wanted, LINEAGE, ("prompt", "options"), KEPT)
    assert shown["prompt"] == "https://cdn.discordapp.com/a/fox.png?ex=[redacted]&hm=[redacted] a fox"
    assert kept == {
        "prompt": "https://cdn.discordapp.com/a/fox.png a fox",
        "options": {"images": ["https://cdn.discordapp.com/a/fox.png"]},
    }


def test_no_field_of_a_generation_or_an_asset_tells_a_secret() -> None:
    wanted = replace(GENERATION, prompt=LINK, options={"images": LINK}, reason=LINK, message=LINK)
    asset = replace(ASSET, url=LINK, error=LINK, content={"text": LINK})
    fields = (*documents._GENERATION, "prompt", "options")
    everything = [
        of_generation(wanted, LINEAGE, fields, SHOWN),
        of_generation(wanted, LINEAGE, fields, KEPT),
        of_asset(asset, tuple(documents._ASSET)),
    ]
    assert SECRET not in json.dumps(everything)
