"""The figures that people read are those that were measured last."""

import re
import shutil
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHES, Row
from tests.figures.demo_picture import STRIP, SVG, terminal
from tests.figures.results import RESULTS, load, record
from tests.figures.tables import PERFORMANCE, README, filled, tables


@pytest.mark.parametrize("document", [README, PERFORMANCE], ids=lambda document: document.name)
def test_a_document_has_the_last_results(document: Path):
    text = document.read_text(encoding="utf-8")
    assert text == filled(text, tables(load())[document]), "run `make readme-figures`"


def test_the_readme_has_one_table_of_figures_and_at_most_eight_rows():
    (table,) = tables(load())[README].values()
    head_and_rule = 2
    assert len(table.splitlines()) - head_and_rule <= 8


def test_the_page_explains_every_benchmark():
    assert re.findall(r"^\| (P\d+) \| [^|]+ \|$", PERFORMANCE.read_text(encoding="utf-8"), re.MULTILINE) == [*BENCHES]


def test_a_figure_that_is_missing_is_named():
    results = {**load(), "bench": [entry for entry in load()["bench"] if entry["name"] != "P7"]}
    with pytest.raises(KeyError, match="memory"):
        tables(results)


def test_a_benchmark_replaces_its_own_rows_and_no_others(tmp_path: Path):
    file = tmp_path / "results.json"
    shutil.copy(RESULTS, file)
    row = Row("P8", "start of a new command", 2.0, "ms", 1, 3, at_least=False, detail="")
    record("bench", [row.as_json() | {"command": "make bench"}], replaces=("name", "command"), file=file)

    before, after = load()["bench"], load(file)["bench"]
    assert [entry for entry in after if entry["name"] != "P8"] == [entry for entry in before if entry["name"] != "P8"]
    (recorded,) = [entry for entry in after if entry["name"] == "P8"]
    assert (recorded["what"], recorded["holds"], recorded["reached"]) == ("start of a new command", True, False)
    assert recorded.keys() >= {"date", "machine", "python"}


def test_a_chaos_run_replaces_that_of_the_same_size_on_the_same_database(tmp_path: Path):
    file = tmp_path / "results.json"
    shutil.copy(RESULTS, file)
    first, *others = load()["chaos"]
    record("chaos", [{**first, "seed": 99}], replaces=("asked", "database"), file=file)

    recorded, *kept = load(file)["chaos"]
    assert (recorded["database"], recorded["seed"]) == (first["database"], 99)
    assert kept == others


def test_the_picture_of_the_demo_needs_nothing_from_elsewhere():
    svg = terminal("\x1b[36mfox\x1b[0m   225 kB demo/fox/0.png")
    for picture in (svg, SVG.read_text(encoding="utf-8")):
        assert "kB" in picture
        assert not re.search(r"@font-face|href=|url\((?!#)", picture)
    assert SVG.stat().st_size < 100_000
    assert STRIP.stat().st_size < 100_000
