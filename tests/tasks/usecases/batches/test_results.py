"""A batch is given back: whatever a sheet holds, its rows come back in order, and open in spreadsheets and browsers."""

import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from tasks.children import child_of
from tasks.usecases.batches.results import Exported, Format, Output, ResultsRequest, export_results, thumbnails
from tasks.usecases.batches.results.failing_rows import FailingRows
from tasks.usecases.batches.results.tables import guarded
from tasks.usecases.batches.results.writers import CsvTable, XlsxTable
from tests.asking import a_recipe, asked
from tests.examples import examples
from tests.factories import failure
from tests.tasks.usecases.batch_file.reading import read_entries
from tests.tasks.usecases.batches.shop import EVIL, a_shop, go, row, submit, succeed
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, NotFound, RequestInvalid
from worker.generation import Generation, Lineage, Operation, State
from worker.ledger.changes import Person
from worker.ledger.generations import BatchResult
from worker.services import Services


def exported(here: Services, kind: Format, **facts: object) -> tuple[bytes, Exported]:
    stream = io.BytesIO()
    done = export_results(here, ResultsRequest(batch="shop", outputs=[Output(kind, stream)], **facts))
    return stream.getvalue(), done


def failing(here: Services, kind: Format) -> tuple[bytes, Exported]:
    stream = io.BytesIO()
    done = export_results(here, ResultsRequest(batch="shop", errors=Output(kind, stream)))
    return stream.getvalue(), done


def read_csv(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def test_what_a_recipe_made_names_the_recipe_and_its_step(here: Services, tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    (approval,) = asked(here.ledger, recipe, batch="shop")
    (parent,) = here.ledger.generations.get([approval.generation_id])
    child = child_of(parent, "upscale2", (), None)
    here.ledger.generations.create([replace(child, recipe=recipe, step="best")])
    found = [(one["recipe"], one["step"], one["action"]) for one in read_csv(exported(here, Format.CSV)[0])]
    assert found == [("shop", "", ""), ("shop", "best", "upscale2")]
    lines = [json.loads(line) for line in exported(here, Format.JSONL)[0].splitlines()]
    assert [(one["recipe"], one["step"]) for one in lines] == [("shop", None), ("shop", "best")]


def test_every_row_comes_back_in_order_with_its_columns_and_what_became_of_it(here: Services) -> None:
    a_shop(here.ledger, None)
    raw, done = exported(here, Format.CSV)
    rows = read_csv(raw)
    assert raw.startswith(b"\xef\xbb\xbfkey,name,choice,prompt,state,")
    assert done.generations == 6
    assert [(one["root_key"], one["action"], one["state"], one["choice"]) for one in rows] == [
        ("0041", "", "archived", ""),
        ("0041", "upscale1", "archived", ""),
        ("0042/1", "", "archived", "red"),
        ("0042/2", "", "submitted", "blue"),
        ("0043", "", "failed", ""),
        ("0044", "", "submitted", ""),
    ]
    assert [one["name"] for one in rows] == ["Größe 1", "Größe 1", f"'{EVIL}", f"'{EVIL}", "Größe 3", "Größe 4"]
    assert (rows[0]["files"], rows[0]["width_2"], rows[0]["cost"]) == ("2", "640", "0.000001")
    assert rows[0]["object_key_2"].endswith(".png")
    assert (rows[4]["cost"], rows[4]["reason"]) == ("0.00", "forbidden")
    assert rows[4]["remedy"].startswith("change the prompt or the images")


def test_json_lines_have_one_object_per_generation(here: Services) -> None:
    a_shop(here.ledger, None)
    raw, _ = exported(here, Format.JSONL)
    first, *_, last = map(json.loads, raw.splitlines())
    assert (first["key"], first["state"], first["reason"], first["cost"]) == ("0041", "archived", None, "0.000001")
    assert first["input"] == {"name": "Größe 1"}
    assert {"object_key", "sha256", "bytes", "content_type"} <= first["assets"][0].keys()
    assert last["row"] == 4


def test_a_users_column_with_one_of_our_names_keeps_its_values(here: Services) -> None:
    submit(here.ledger, [row(1, "a", "a lamp", state="Bavaria", cost="9")])
    (one,) = read_csv(exported(here, Format.CSV)[0])
    assert (one["input.state"], one["state"], one["input.cost"], one["cost"]) == ("Bavaria", "queued", "9", "")


def test_a_deleted_generation_keeps_its_line_and_loses_its_columns(here: Services) -> None:
    submit(here.ledger, [row(1, "a", "a secret lamp", client="a secret client")])
    (claim,) = go(here.ledger).values()
    succeed(here.ledger, None, claim)
    here.ledger.generations.delete([claim.generation.id], Person("somebody"))
    for kind in (Format.CSV, Format.JSONL):
        raw, done = exported(here, kind)
        assert done.generations == 1
        assert b"secret" not in raw


def test_links_name_their_end_and_work_no_longer_than_s3_allows(here_with_bucket: Services) -> None:
    a_shop(here_with_bucket.ledger, None)
    raw, done = exported(here_with_bucket, Format.CSV, links=timedelta(days=2))
    first, *_ = read_csv(raw)
    assert re.search(r"X-Amz-Expires=172800\b", first["link_2"])
    assert first["links_expire_at"][:16] == f"{done.links_expire_at:%Y-%m-%dT%H:%M}"
    with pytest.raises(RequestInvalid, match="at most 7 days"):
        ResultsRequest(batch="shop", links=timedelta(days=8))


@given(st.text())
def test_no_cell_of_a_csv_file_is_a_formula_and_each_comes_back(text: str) -> None:
    stream = io.BytesIO()
    table = CsvTable(stream, ["a", text])
    table.add([text, 1])
    table.close()
    header, line = csv.reader(io.StringIO(stream.getvalue().decode("utf-8-sig"), newline=""))
    clean = text.encode(errors="backslashreplace").decode()
    assert header[1] == line[0] == guarded(clean)
    assert not line[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_spreadsheet_has_texts_and_numbers_but_neither_formulas_nor_links_of_others() -> None:
    stream = io.BytesIO()
    texts = [EVIL, "0042", "1.23E+12", "https://evil.example", "16:9", "-5", "x" * 40_000, "a\x01b"]
    table = XlsxTable(stream, ["key", *map(str, range(len(texts))), "link"], [False] * 9 + [True])
    table.add(["k", *texts, "https://bucket.example/a.png"])
    table.close()
    stream.seek(0)
    _, line = CalamineWorkbook.from_filelike(stream).get_sheet_by_index(0).to_python()
    assert line[1:7] == texts[:6]
    assert len(line[7]) == 32_767
    with zipfile.ZipFile(stream) as book:
        sheet_xml = book.read("xl/worksheets/sheet1.xml").decode()
        links = book.read("xl/worksheets/_rels/sheet1.xml.rels").decode()
    assert "<f>" not in sheet_xml
    assert '<pane xSplit="1" ySplit="1"' in sheet_xml
    assert "evil" not in links
    assert "https://bucket.example/a.png" in links


def test_a_spreadsheet_of_a_batch_has_its_rows_and_costs_as_numbers(here: Services) -> None:
    a_shop(here.ledger, None)
    raw, _ = exported(here, Format.XLSX)
    header, first, *_ = CalamineWorkbook.from_filelike(io.BytesIO(raw)).get_sheet_by_index(0).to_python()
    found = dict(zip(header, first, strict=True))
    assert (found["key"], found["cost"], found["files"], found["name"]) == ("0041", 0.000001, 2.0, "Größe 1")


def test_a_contact_sheet_holds_its_thumbnails_and_escapes_everything(here_with_bucket: Services) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    raw, done = exported(here_with_bucket, Format.HTML)
    page = raw.decode()
    assert page.count('src="data:image/webp;base64,') == 4
    assert (page.count("<article"), page.count('<article class="failed"'), done.without_thumbnail) == (6, 1, 0)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http" not in re.sub(
        r"=HYPERLINK\(&quot;http://|img-src data: http: https:|name=.viewport|http-equiv", "", page
    )


def test_beyond_its_room_a_contact_sheet_shows_images_by_their_links(
    here_with_bucket: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_MOST_BYTES", 0)
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    raw, done = exported(here_with_bucket, Format.HTML, links=timedelta(days=1))
    assert raw.count(b'<img src="http') == 4
    assert done.without_thumbnail == 4
    raw, _ = exported(here_with_bucket, Format.HTML)
    assert raw.count(b"no room for more thumbnails") == 4


def test_what_was_changed_or_is_missing_in_the_bucket_has_no_thumbnail(here_with_bucket: Services) -> None:
    archive = here_with_bucket.archive
    a_shop(here_with_bucket.ledger, archive)
    keys = [str(asset.object_key) for one in here_with_bucket.ledger.generations.results(batch_of(here_with_bucket))
            for asset in one.assets]  # fmt: skip
    archive.delete(keys[0])
    archive.overwrite(keys[1], b"something else", content_type="image/png", metadata={})
    raw, done = exported(here_with_bucket, Format.HTML)
    assert (raw.count(b"missing in the bucket"), raw.count(b"changed in the bucket")) == (1, 1)
    assert done.without_thumbnail == 2


def test_an_image_that_cannot_be_read_is_left_out_and_a_bucket_that_cannot_ends_it(
    here_with_bucket: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)

    def broken(self: S3Archive, key: str) -> None:
        raise ArchiveError("the connection broke")

    monkeypatch.setattr(S3Archive, "read", broken)
    raw, done = exported(here_with_bucket, Format.HTML)
    assert (raw.count(b"could not be read"), done.without_thumbnail) == (4, 4)
    monkeypatch.setattr(thumbnails, "GIVE_UP", 3)
    with pytest.raises(ArchiveError, match="the connection broke"):
        exported(here_with_bucket, Format.HTML)


def batch_of(here: Services) -> str:
    return here.ledger.generations.batch_ids("shop")[0]


@pytest.mark.parametrize("kind", [Format.CSV, Format.JSONL, Format.XLSX])
def test_failing_rows_are_the_users_own_with_an_error(here: Services, kind: Format) -> None:
    a_shop(here.ledger, None)
    raw, done = failing(here, kind)
    assert (done.failing, done.failed_follow_ups) == (1, 0)
    if kind is Format.CSV:
        (one,) = read_csv(raw)
    elif kind is Format.JSONL:
        one = json.loads(raw)
    else:
        header, line = CalamineWorkbook.from_filelike(io.BytesIO(raw)).get_sheet_by_index(0).to_python()
        one = dict(zip(header, line, strict=True))
    images = "https://shop.example/v.png"
    wanted = {"key": "0043", "name": "Größe 3", "prompt": "a forbidden vase", "version": "7", "provider": "acedata"}
    assert {name: one[name] for name in wanted} == wanted
    assert one["images"] == ([images] if kind is Format.JSONL else images)
    assert one["error"].startswith("forbidden: the prompt is forbidden: change the prompt")


@pytest.mark.parametrize("kind", [Format.CSV, Format.JSONL, Format.XLSX])
@given(
    prompt=st.text("ab {},|_\\$-é", min_size=1).filter(str.strip),
    mine=st.text("ab=+-@' ,;\"\n|é0", min_size=1).filter(str.strip),
)
@settings(max_examples=examples(40))
def test_failing_rows_are_read_again_as_they_were(a_result: BatchResult, kind: Format, prompt: str, mine: str) -> None:
    prompt, mine = prompt.strip(), mine.strip()
    failed = replace(
        a_result.generation,
        prompt=prompt,
        input={"my column": mine, "_choice": "red"},
        options={"version": "7", "images": ["https://a.example/1.png", "https://a.example/2.png"]},
    )
    stream = io.BytesIO()
    with FailingRows(stream, kind) as rows:
        rows.add(replace(a_result, generation=failed, root=failed, labels={"client": "acme"}), "do something")
        rows.write()
    (entry,) = read_entries(f"errors.{kind}", stream.getvalue())
    assert (entry.key, entry.prompt, entry.input) == ("0042/1", prompt, {"my column": mine})
    assert (entry.provider, entry.operation, entry.follow_up) == ("kie,acedata", "imagine", "upscale1,upscale2")
    assert (entry.priority, entry.labels) == (5, {"client": "acme"})
    images = failed.options["images"]
    assert entry.options == {"version": "7", "images": images if kind is Format.JSONL else " ".join(images)}


@pytest.fixture(scope="module")
def a_result() -> BatchResult:
    facts: dict = dict.fromkeys(Generation.__dataclass_fields__)
    facts |= {"id": "gen_1", "key": "0042/1", "operation": Operation.IMAGINE, "state": State.FAILED, "priority": 5}
    facts |= {"provider": "kie", "providers": ("acedata",), "follow_up": ("upscale1", "upscale2"), "row_version": 1}
    one = Generation(**facts)
    return BatchResult(generation=one, root=one, lineage=Lineage.of_root(one, "shop"), assets=(), cost=None, labels={})


def test_a_row_that_has_a_newer_version_does_not_fail_any_more(here: Services) -> None:
    submit(here.ledger, [row(1, "a", "a bad lamp")])
    here.ledger.generations.apply_outcomes([failure(claim) for claim in go(here.ledger).values()])
    newer = replace(row(1, "a", "a lamp"), row_version=2, dedupe="a v2", batch_id=batch_of(here))
    here.ledger.generations.create([newer])
    assert failing(here, Format.CSV)[1].failing == 0


def test_an_unknown_batch_is_an_error_that_names_it(here: Services) -> None:
    with pytest.raises(NotFound, match="no batch 'shop'"):
        exported(here, Format.CSV)
