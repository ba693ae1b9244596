"""A recipe with a maximum cost is refused where nothing has a price, before anything is paid for."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.submit import SubmitRequest, check
from worker.errors import RequestInvalid
from worker.services import Services
from worker.settings.settings import Settings

RECIPE = """
name: shop
steps:
  - id: best
    after: archived
    do: upscale1
    then:
      - {id: film, after: archived, do: variation1, max_cost: 1.00}
"""
PRICES = "currency: USD\nprices:\n  - {provider: acedata, price: 0.05}\n"


def test_a_recipe_with_a_maximum_cost_needs_prices(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(RECIPE)
    prices = tmp_path / "prices.yml"
    prices.write_text(PRICES)
    request = SubmitRequest(entries=[Entry(place=Place(""), prompt="a red fox")], defaults=Defaults(recipe="shop"))
    facts: dict[str, Any] = {
        "database_url": sqlite_url,
        "darkroom_recipes": tmp_path,
        "acedatacloud_api_token": "secret",
    }
    with (
        closing(Services(Settings(**facts))) as here,
        pytest.raises(RequestInvalid, match="step film: max_cost needs prices"),
    ):
        check(here, request)
    with closing(Services(Settings(**facts, darkroom_prices=prices))) as here:
        assert check(here, request).wanted[0].recipe is not None
