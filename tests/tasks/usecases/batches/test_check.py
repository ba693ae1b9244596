"""The check of a whole file: what is wrong, where it goes, what it costs; and that nothing is written."""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.batch_file import Counted, open_batch_file
from tasks.usecases.batches.check import BatchCheck, check_batch
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.entry_check import Defaults
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Operation
from worker.ledger.generations import NewGeneration
from worker.services import Services
from worker.settings.settings import load_settings

PRICES = """\
currency: USD
prices:
  - {provider: acedata, price: 0.05}
  - {provider: kie, price: 0.02}
  - {provider: kie, operation: upscale, price: 0.01}
caps: {day: 0.10, batch: 1.00}
"""


@pytest.fixture
def services(settings_of_the_test: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "prices.yaml").write_text(PRICES)
    settings_of_the_test.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    settings_of_the_test.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    settings_of_the_test.setenv("KIE_API_KEY", "a-key-of-the-tests")
    with closing(Services(load_settings())) as services:
        yield services


def checked(
    services: Services, raw: str, name: str = "p.csv", *, most: int = 50_000, **facts: Any
) -> tuple[BatchCheck, list[NewGeneration]]:
    taken: list[NewGeneration] = []
    with open_batch_file(name, io.BytesIO(raw.encode())) as file:
        found = check_batch(services, BatchRequest(file=file, **facts), take=taken.append, max_submissions=most)
    assert services.ledger.generations.page() == []
    return found, taken


def test_what_is_valid_is_handed_on_with_all_that_the_row_says(services: Services) -> None:
    raw = "sku,prompt,colour,hd,label.client,follow_up,operation\n0042,a {colour} hat,red,true,acme,upscale1,\n"
    found, (new,) = checked(services, raw, defaults=Defaults(labels={"client": "other", "year": "2026"}))
    assert (new.key, new.request.prompt, new.request.options) == ("0042", "a red hat", {"hd": "true"})
    assert (new.input, new.row_number) == ({"colour": "red"}, 1)
    assert (new.labels, new.follow_up) == ({"client": "acme", "year": "2026"}, ("upscale1",))
    assert new.row_sha256
    assert len(new.row_sha256) == 64
    assert (found.rows, found.invalid, found.submissions, found.errors) == (1, 0, 1, ())


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_a_column_that_looks_misspelt_is_told_and_a_shops_own_columns_are_not(services: Services, name: str) -> None:
    own = "colour style title price notes size text category brand width height material url index".split()  # noqa: SIM905
    wrong = {
        "Aspect Ration": "aspect_ratio", "stylise": "stylize", "verison": "version", "image": "images",
        "priorty": "priority", "label_client": "label.client", "labels.year": "label.year",
    }  # fmt: skip
    columns = ["prompt", *own, *wrong, "label.shop", "error"]
    row = dict.fromkeys(columns, "x")
    raw = json.dumps(row) if name == "p.jsonl" else f"{','.join(row)}\n{','.join(row.values())}\n"
    found, _ = checked(services, raw, name)
    assert list(found.warnings) == [
        f"{name}, column {column}: it has no effect by itself; did you mean {meant}?" for column, meant in wrong.items()
    ]


def test_every_bad_cell_is_told_with_line_column_and_value(services: Services) -> None:
    raw = """\
id;prompt;Aspect Ratio;hd;provider;operation;follow_up
1;a fox;wide;maybe;;;
2;;1:1;;;;
3;a fox;;;nobody;;
4;a fox;;;;;grow
5;a fox --s 2000;;;;;
6;a fox;;;;blend;
7;{a, b} --s 2000;;;;;
"""
    found, taken = checked(services, raw)
    assert [(one.line, one.column, one.value) for one in found.errors] == [
        (2, "Aspect Ratio", "wide"),
        (2, "hd", "maybe"),
        (3, "prompt", None),
        (4, "provider", "nobody"),
        (5, "follow_up", "grow"),
        (6, "prompt", "--s 2000"),
        (7, "operation", "blend"),
        (8, "prompt", "--s 2000"),
    ]
    assert (taken, found.invalid, found.submissions) == ([], 7, 0)
    assert "needs the option images" in found.errors[6].message


def test_places_in_text_and_json_are_characters_and_fields(services: Services) -> None:
    found, _ = checked(services, "a fox\n  an owl --s 2000\n{red, {b}} cat\n", "p.txt")
    assert [(one.line, one.column) for one in found.errors] == [(2, 10), (3, 7)]
    found, _ = checked(services, '{"prompt": "a", "hd": 7}\n{"prompt": "a", "options": {"hd": 7}}\n', "p.jsonl")
    assert [(one.line, one.column, one.value) for one in found.errors] == [(1, "hd", "7"), (2, "hd", "7")]


def test_a_row_goes_to_the_first_provider_that_supports_it_and_lists_the_others(services: Services) -> None:
    raw = "prompt,hd,seed,provider\na,,,\nb,true,,\nc,,5,kie\nd,,,acedata\ne,wrong,,\n"
    found, taken = checked(services, raw, providers=("kie", "acedata"))
    assert [(one.request.prompt, one.provider, one.providers) for one in taken] == [
        ("a", "kie", ("acedata",)),
        ("b", "acedata", ()),
        ("d", "acedata", ()),
    ]
    kie, acedata = found.providers
    assert (kie.submissions, kie.alternative, acedata.submissions, acedata.alternative) == (1, 0, 2, 1)
    assert [(reason.split(";")[0][:35], rows) for reason, rows in kie.cannot] == [
        ("Kie.ai has no option 'hd' for imagi", 2),
        ("Kie.ai has no option 'seed' for ima", 1),
    ]
    by_row, by_all = found.errors
    assert (by_row.line, by_row.column) == (4, "seed")
    assert by_all.message.startswith("none of the providers supports it: kie: Kie.ai has no option 'hd'")
    assert "acedata: option hd: invalid value 'wrong'" in by_all.message


def test_costs_are_held_against_the_budgets(services: Services) -> None:
    raw = 'key,prompt,provider,follow_up\n1,"{a, b, c}",,\n2,d,kie,upscale:all\n'
    found, taken = checked(services, raw)
    assert [one.key for one in taken] == ["1/1", "1/2", "1/3", "2"]
    estimate = found.estimate
    assert estimate is not None
    assert (estimate.amount, estimate.follow_ups, estimate.unpriced) == (170_000, 40_000, 0)
    assert estimate.by_provider == {"acedata": 150_000, "kie": 20_000}
    assert [(one.standing.name, one.needed, one.is_enough) for one in estimate.budgets] == [
        ("today", 170_000, False),
        ("p", 170_000, True),
    ]


def test_the_number_is_said_first_and_limited(services: Services) -> None:
    numbers: list[Counted] = []
    with open_batch_file("p.csv", io.BytesIO(b'prompt\n"{a, b} {c, d}"\nx\n')) as file:
        with pytest.raises(RequestInvalid, match=r"p\.csv makes 5 submissions, above the limit of 4"):
            check_batch(services, BatchRequest(file=file), max_submissions=4, counted=numbers.append)
        found = check_batch(services, BatchRequest(file=file, expand_limit=3))
    assert numbers == [Counted(2, 5)]
    (error,) = found.errors
    assert "this makes 4 generations from one row, above the limit of 3" in error.message


def test_rows_that_make_nothing_count_as_well(services: Services) -> None:
    with pytest.raises(RequestInvalid, match=r"p\.csv has 5 rows, above the limit of 4 \(--max-submissions\)"):
        checked(services, "sku,prompt\n" + "".join(f"{number},{{\n" for number in range(5)), most=4)


def test_submissions_without_a_key_are_counted(services: Services) -> None:
    found, _ = checked(services, 'key,prompt\n1,"{a, b}"\n,"{c, d}"\n3,\n')
    assert (found.submissions, found.unkeyed, found.invalid) == (4, 2, 1)


def test_what_looks_odd_is_a_warning(services: Services) -> None:
    found, taken = checked(services, "prompt\na fox --foo\nan owl --v 99\n")
    assert (len(taken), found.errors) == (2, ())
    assert [sentence.split(":")[0] for sentence in found.warnings] == [
        "p.csv, line 2, column prompt",
        "p.csv, line 3",
    ]


def test_a_file_as_a_whole_may_be_impossible(services: Services) -> None:
    with pytest.raises(RequestInvalid, match="no column is named prompt"):
        checked(services, "name,size\nhat,big\n")
    found, _ = checked(services, "name,size\nhat,big\n", template="a {size} {name}")
    assert found.errors == ()
    found, _ = checked(services, "images\nhttps://example.com/a.png\n", defaults=Defaults(operation=Operation.DESCRIBE))
    assert [error.message for error in found.errors] == []
    with pytest.raises(ConfigurationError, match="unknown provider 'nobody'"):
        checked(services, "prompt\na\n", providers=("nobody",))


def test_a_thousand_warnings_are_kept_and_the_others_counted(services: Services) -> None:
    found, _ = checked(services, "prompt\n" + "a --foo\n" * 1500)
    assert (len(found.warnings), found.more_warnings) == (1000, 500)


def test_a_wrong_option_that_is_needed_is_not_missing_as_well(services: Services) -> None:
    found, _ = checked(services, "images,hd\nphoto.png,maybe\n", defaults=Defaults(operation=Operation.BLEND))
    assert [error.column for error in found.errors] == ["images", "hd"]
