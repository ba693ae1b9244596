"""`darkroom batch check` as people and programs see it, and bad files as they really come."""

import gzip
import json
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger

PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\ncaps: {batch: 0.02}\n"


def test_a_good_file_says_its_number_first_and_then_its_cost(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    monkeypatch.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    (tmp_path / "shop.csv").write_text("sku;name\n0042;hat\n0043;coat\n")
    result = darkroom("batch", "check", "shop.csv", "--template", "a {name} in {snow, rain}")
    assert (result.exit_code, result.stderr) == (0, "2 rows, 4 submissions\n")
    assert result.stdout.splitlines() == [
        "acedata: 4 submissions",
        "cost: 0.20 USD",
        "  budget shop: 0.20 USD needed, 0.02 USD of 0.02 USD left; the rest waits until there is room",
        "2 rows valid: 4 submissions",
    ]


def test_fifty_errors_are_printed_and_all_are_listed(darkroom: Darkroom, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("sku,prompt,hd\n" + "".join(f"{n},a,no\n" for n in range(1253)))
    result = darkroom("batch", "check", "shop.csv")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "shop.csv, line 2, column hd: option hd: invalid value 'no', expected true or false"
    assert lines[50] == "and 1,203 more (--json lists all)"
    assert lines[-1] == "1,253 of 1,253 rows invalid; nothing was written"
    document = json.loads(darkroom("batch", "check", "shop.csv", "--json").stdout)
    assert (document["rows"], document["submissions"], document["cost"], len(document["errors"])) == (
        1253,
        0,
        None,
        1253,
    )
    assert document["errors"][0] == {
        "line": 2,
        "column": "hd",
        "value": "no",
        "message": "option hd: invalid value 'no', expected true or false",
        "row": 1,
    }
    assert ledger.generations.page() == []


def test_a_value_that_is_only_part_of_a_word_of_the_message_is_told_as_well(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "shop.csv").write_text("prompt,operation\na,imagin\n")
    first = darkroom("batch", "check", "shop.csv").stdout.splitlines()[0]
    assert first.startswith("shop.csv, line 2, column operation: expected one of imagine, ")
    assert first.endswith(" (it has 'imagin')")


def test_standard_input_is_a_file_too(darkroom: Darkroom) -> None:
    result = darkroom("batch", "check", "-", "--provider", "acedata", input='{"prompt": "{a, b} fox", "key": "1"}\n')
    assert (result.exit_code, result.stderr) == (0, "1 row, 2 submissions\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.csv", "prompt\nfür eine schöne Straße\n".encode("cp1252")),
        ("no-header.csv", b"a red fox,0001\nan owl,0002\n"),
        ("ragged.csv", b"key,prompt\n1\n2,a,b\n"),
        ("long.csv", b"key,prompt\n1," + b"x" * 1_000_000 + b"\n"),
        ("quote.csv", b'key,prompt\n1,"a fox\n'),
        ("nul.csv", b"key,prompt\n1,a\x00\n"),
        ("twice.csv", b"key,prompt\n1,a\n1,b\n"),
        ("empty.csv", b""),
        ("packed.csv", gzip.compress(b"key,prompt\n1,a\n", mtime=0)),
        ("deep.json", b"[" * 10_000_000),
        ("deep.jsonl", b"[" * 10_000_000),
        ("deep.txt", b"[" * 10_000_000),
        ("locked.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le")),
        ("folder.csv", None),
    ],
)
def test_a_bad_file_gives_one_clear_message_and_writes_nothing(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    for command in (("batch", "check", name), ("submit", "--file", name)):
        result = darkroom(*command)
        assert result.exit_code in {1, 2}
        said = [line for line in result.output.splitlines() if name in line]
        assert said, result.output
        assert all(len(line) < 500 for line in said)
        assert len(said) <= (2 if name == "ragged.csv" else 1)
    assert ledger.generations.page() == []


def test_a_prompt_on_the_command_line_expands_as_well(darkroom: Darkroom, ledger: Ledger) -> None:
    result = darkroom("submit", "a {red, blue} fox", "--key", "fox")
    assert result.exit_code == 0
    assert {(one.key, one.prompt) for one in ledger.generations.page()} == {
        ("fox/1", "a red fox"),
        ("fox/2", "a blue fox"),
    }
    refused = darkroom("submit", "a {red|blue} fox")
    assert (refused.exit_code, "separate alternatives by commas" in refused.stderr) == (1, True)
