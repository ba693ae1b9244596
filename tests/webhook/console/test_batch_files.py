"""The drop zone: what is found in a file is told without writing anything, and exactly that is submitted, once."""

import hashlib
import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any, cast

import pytest
import xlsxwriter
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from tasks.usecases.once_only import LEASE
from tests import s3
from tests.broken_off import broken_off
from tests.clock import FakeClock
from tests.webhook.console.asking import get, mistake_at, post, words
from tests.webhook.console.conftest import at_work_with, pages_of
from webhook.api.app import create_app
from worker.errors import LedgerUnavailable, RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.services import Services

SHEET = "sku,prompt,aspect_ratio\n001,a fox,16:9\n002,an owl,1:1\n"
WRONG = "sku,prompt,aspect_ratio\n001,a fox,16:9\n002,an owl,wide\n001,a bear,1:1\n"
PRICES = "currency: EUR\nprices:\n  - {provider: acedata, price: 0.05}\ncaps:\n  day: 0.07\n"
HOSTILE = "<img src=x onerror=alert(1)>.csv"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """No database matters here."""
    return sqlite_url


def send(
    client: FlaskClient,
    content: str | bytes = SHEET,
    path: str = "/submit/batch/check",
    *,
    name: str = "spring.csv",
    pictures: dict[str, bytes] | None = None,
    **fields: Any,
) -> TestResponse:
    given = content.encode() if isinstance(content, str) else content
    files = {"file": (io.BytesIO(given), name)} if name else {}
    images = [(io.BytesIO(picture), called) for called, picture in (pictures or {}).items()]
    return post(client, path, fragment=fields.pop("fragment", True), more={**files, "pictures": images}, **fields)


def submit(client: FlaskClient, content: str | bytes = SHEET, **fields: Any) -> TestResponse:
    """Check it, and then press the button that the findings offer."""
    checked = fields.pop("checked", None) or digest(send(client, content, **fields))
    return send(client, content, "/submit/batch", checked=checked, **fields)


def digest(found: TestResponse) -> str:
    (marked,) = re.findall(r'name="checked" value="(\w+)"', found.text)
    return str(marked)


def table(found: TestResponse, title: str) -> list[list[str]]:
    body = re.search(rf'id="{title}".*?<tbody>(.*?)</tbody>', found.text, flags=re.DOTALL)
    assert body is not None, title
    rows = re.findall(r"<tr>(.*?)</tr>", body[1], flags=re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)] for row in rows]


def all_of(ledger: Ledger) -> list[Generation]:
    return ledger.generations.page(limit=100)[::-1]


def image(color: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), color).save(file, "PNG")
    return file.getvalue()


def xlsx(**sheets: tuple[tuple[str, ...], ...]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return out.getvalue()


# --- the check


def test_what_is_in_a_file_is_told_and_nothing_is_written(
    services_for: Callable[..., Services], rung: list[str], ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    client = at_work_with(create_app(services_for(darkroom_prices=tmp_path / "prices.yaml")))
    found = send(client)
    said = words(found)
    assert "spring.csv Rows 2 Generations 2 Estimated cost 0.10 EUR" in said
    assert "0.10 EUR needed, 0.07 EUR of 0.07 EUR left; the rest waits until there is room." in said
    assert table(found, "first-rows") == [["1", "001", "a fox", "16:9"], ["2", "002", "an owl", "1:1"]]
    assert "Submit 2 generations for about 0.10 EUR" in said
    assert (all_of(ledger), ledger.access.actions(), rung) == ([], [], [])
    assert ledger.generations.batch_named("spring") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"key": "001", "prompt": "a fox"}\n{"key": "002", "prompt": "an owl"}\n'),
        ("a.json", '[{"key": "001", "prompt": "a fox"}, {"key": "002", "prompt": "an owl"}]'),
        ("a.txt", "a fox\nan owl\n"),
        ("a.xlsx", xlsx(One=(("sku", "prompt"), ("001", "a fox"), ("002", "an owl")))),
    ],
)
def test_every_kind_of_file_is_read(client: FlaskClient, name: str, content: str | bytes) -> None:
    assert "Rows 2 Generations 2 Estimated cost price unknown" in words(send(client, content, name=name))


def test_each_mistake_has_its_line_its_column_and_its_remedy(client: FlaskClient) -> None:
    found = send(client, WRONG)
    assert table(found, "wrong") == [
        ["3", "aspect_ratio", "wide", "option aspect_ratio: invalid value 'wide', expected a ratio such as 16:9"],
        ["4", "sku", "001", "the key '001' is already used on line 2"],
    ]
    said = words(found)
    assert "Rows 3 With mistakes 2 Generations 1" in said
    assert "Submit the others: 1 generation" in said


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        ("", "spring.csv", "spring.csv is empty"),
        ("name\nfox\n", "spring.csv", "give a template for the prompts, such as “Prompt template” 'a photo of"),
        (b"\xff\xfe\x00", "spring.csv", "spring.csv"),
        ("a fox", "", "choose a batch file"),
        ('{"prompt": "a"}', "spring.csv", "the name ends in .csv, but this is JSON lines"),
    ],
)
def test_what_is_no_batch_file_is_told_at_its_field(client: FlaskClient, content: str, name: str, told: str) -> None:
    found = send(client, content, name=name)
    assert found.status_code == 200
    assert told in mistake_at(found, "file")
    assert "<button" not in found.text


def test_names_prompts_and_columns_are_only_text(client: FlaskClient) -> None:
    bad = "<script>alert(1)</script>"
    found = send(client, f'prompt,"{bad}",aspect_ratio\n"{bad}","{bad}","{bad}"\n', name=HOSTILE)
    assert "<script>alert" not in found.text
    assert "<img src=x" not in found.text
    assert "&lt;img src=x onerror=alert(1)&gt;.csv" in found.text


@pytest.mark.parametrize("name", ["../../etc/passwd.csv", "/passwd.csv"])
def test_of_a_file_name_with_folders_only_the_last_part_counts(client: FlaskClient, ledger: Ledger, name: str) -> None:
    assert submit(client, name=name).status_code == 200
    assert ledger.generations.batch_named("passwd") is not None


def test_another_sheet_can_be_chosen(client: FlaskClient) -> None:
    book = xlsx(One=(("prompt",), ("a fox",)), Two=(("prompt",), ("an owl",), ("a bear",)))
    assert "Row 1" in words(send(client, book, name="a.xlsx"))
    found = send(client, book, name="a.xlsx", sheet="Two")
    assert "Rows 2" in words(found)
    assert "<option selected>Two</option>" in found.text


def test_what_is_in_the_batch_already_is_not_counted_again(client: FlaskClient) -> None:
    submit(client)
    found = words(send(client, f"{SHEET}003,a bear,1:1\n"))
    assert "Already in the batch 2" in found
    assert "Submit 1 generation" in found
    assert "Everything is already in the batch." in words(send(client))
    assert "The same file was submitted before, as spring" in words(send(client, batch_name="again"))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("batch_provider", "nobody", "unknown provider 'nobody'"),
        ("batch_priority", "high", "enter a whole number"),
        ("batch_max_cost", "much", "enter an amount such as 2.50"),
        ("batch_max_cost", "2", "“Cost limit” needs prices"),
        ("batch_start", "soon", "enter a day and a time"),
        ("batch_name", "x" * 300, "more than 255 characters"),
    ],
)
def test_what_is_wrong_with_a_field_stands_at_it(client: FlaskClient, field: str, value: str, told: str) -> None:
    assert told in mistake_at(send(client, **cast("dict[str, Any]", {field: value})), field)


# --- submitting


def test_the_button_submits_all_of_it_as_a_batch(client: FlaskClient, ledger: Ledger, rung: list[str]) -> None:
    made = submit(
        client, batch_name="summer", batch_priority="4", batch_start="2030-01-01T00:00", offset="-60"
    )  # fmt: skip
    batch = ledger.generations.batch_named("summer")
    assert batch is not None
    assert made.headers["HX-Redirect"] == f"/batches/{batch.id}"
    assert [(one.key, one.priority) for one in all_of(ledger)] == [("001", 4), ("002", 4)]
    steering = ledger.batches.steering(batch.id)
    assert steering.start_at is not None
    assert steering.start_at.isoformat() == "2029-12-31T23:00:00+00:00"
    assert rung == ["dispatch"]
    (action,) = ledger.access.actions()
    assert (action.action, action.subject, action.status) == ("POST /submit/batch", batch.id, 200)


def test_without_scripts_the_file_is_chosen_again(client: FlaskClient, ledger: Ledger) -> None:
    found = send(client, fragment=False, batch_name="summer")
    assert "Choose the same file and images again to submit it" in words(found)
    assert 'value="summer"' in found.text
    made = send(client, SHEET, "/submit/batch", fragment=False, checked=digest(found), batch_name="summer")
    batch = ledger.generations.batch_named("summer")
    assert batch is not None
    assert (made.status_code, made.headers["Location"]) == (303, f"/batches/{batch.id}")


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (f"{SHEET}003,a bear,1:1\n", {}),
        (SHEET, {"name": "autumn.csv"}),
        (SHEET, {"batch_provider": "kie"}),
        (SHEET, {"batch_template": "a photo of {sku}"}),
        (SHEET, {"pictures": {"fox.png": b"1"}}),
    ],
)
def test_what_is_not_what_was_checked_is_shown_and_not_submitted(
    client: FlaskClient, ledger: Ledger, content: str, more: dict[str, Any]
) -> None:
    checked = digest(send(client))
    refused = submit(client, content, checked=checked, **more)
    assert refused.status_code == 409
    assert "The file changed since it was checked, so nothing was submitted." in words(refused)
    assert all_of(ledger) == []
    assert submit(client, content, checked=digest(refused), **more).status_code == 200


def test_the_others_are_submitted_if_somebody_says_so(client: FlaskClient, ledger: Ledger) -> None:
    refused = submit(client, WRONG)
    assert refused.status_code == 422
    assert "2 of 3 rows are invalid" in words(refused)
    assert all_of(ledger) == []
    assert submit(client, WRONG, skip_invalid="1").status_code == 200
    assert [one.prompt for one in all_of(ledger)] == ["a fox"]


def test_pictures_come_with_the_file_and_are_known_by_their_names(
    client_with_bucket: FlaskClient, ledger: Ledger, rclone: s3.Server
) -> None:
    rows = "prompt,images\na fox,fox.png\nan owl,birds\\owl.png\na bear,https://x.example/bear.png\n"
    pictures = {"fox.png": image(), "pictures/birds/owl.png": image("blue")}
    found = send(client_with_bucket, rows, pictures=pictures)
    assert "Rows 3 Generations 3" in words(found)
    digests = {hashlib.sha256(content).hexdigest(): content for content in pictures.values()}
    assert ledger.inputs.get([*digests]) == {}
    assert submit(client_with_bucket, rows, pictures=pictures).status_code == 200
    fox, owl, bear = all_of(ledger)
    assert re.fullmatch(r"input:[0-9a-f]{64}\.png", fox.options["images"][0])  # type: ignore[index]
    assert owl.options != fox.options
    assert bear.options == {"images": ["https://x.example/bear.png"]}
    stored = ledger.inputs.get([*digests])
    folder = Path(str(rclone.folder)) / s3.BUCKET
    assert {sha256: (folder / one.object_key).read_bytes() for sha256, one in stored.items()} == digests


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("wolf.png", "'wolf.png' is not among the images that came with the file (fox.png)"),
        ("/etc/passwd", "'/etc/passwd' is not among the images"),
        ("~/fox.jpg", "'~/fox.jpg' is not among the images"),
        ("text.png", "text.png is not a PNG, JPEG or WebP image"),
    ],
)
def test_a_picture_that_did_not_come_is_a_mistake_of_its_row(
    client_with_bucket: FlaskClient, named: str, told: str
) -> None:
    pictures = {"fox.png": image()} | ({"text.png": b"no picture"} if named == "text.png" else {})
    found = send(client_with_bucket, f"prompt,images\na fox,{named}\n", pictures=pictures)
    ((line, column, _, message),) = table(found, "wrong")
    assert (line, column) == ("2", "images")
    assert told in unescape(re.sub(r"<[^>]+>", "", message))


# --- once


def test_a_double_click_creates_the_batch_once(client: FlaskClient, ledger: Ledger, rung: list[str]) -> None:
    first, again = submit(client), submit(client)
    assert again.headers["HX-Redirect"] == f"{first.headers['HX-Redirect']}?sent=before"
    assert len(all_of(ledger)) == 2
    assert rung == ["dispatch"]


def test_forms_at_once_create_one_batch(services_for: Callable[..., Services], rung: list[str], ledger: Ledger) -> None:
    assert rung == []
    app = create_app(services_for())
    rows = "a fox\nan owl\n"
    checked = digest(send(at_work_with(app), rows, name="a.txt"))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(submit, at_work_with(app), rows, name="a.txt", checked=checked) for _ in range(8)]
        statuses = [one.result().status_code for one in asked]
    # Whoever comes while it is being carried out is told so.
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert [one.prompt for one in all_of(ledger)] == ["a fox", "an owl"]


def test_after_a_death_between_commit_and_answer_the_same_form_creates_nothing_new(
    services_for: Callable[..., Services],
    rung: list[str],
    ledger: Ledger,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert rung == []
    rows = "a fox\nan owl\n"
    checked = digest(send(at_work_with(create_app(services_for())), rows, name="a.txt"))

    def dies(*_: object, **__: object) -> None:
        raise SystemExit

    def is_dead(*_: object, **__: object) -> None:
        raise LedgerUnavailable("this process is dead")

    with monkeypatch.context() as patched:
        patched.setattr("worker.ledger.access.long_requests.LongRequests.keep_request", dies)
        patched.setattr("worker.ledger.access.long_requests.LongRequests.give_up_request", is_dead)
        with pytest.raises(SystemExit):
            submit(at_work_with(create_app(services_for())), rows, name="a.txt", checked=checked)
    made = all_of(ledger)
    assert len(made) == 2
    client = at_work_with(create_app(services_for()))
    waits = submit(client, rows, name="a.txt", checked=checked)
    assert waits.status_code == 409
    assert "is still being processed. Wait half a minute" in words(waits)
    clock.advance(LEASE.total_seconds() + 1)
    again = submit(client, rows, name="a.txt", checked=checked)
    assert again.headers["HX-Redirect"] == f"/batches/{made[0].batch_id}"
    assert all_of(ledger) == made


def test_a_batch_that_is_refused_after_it_was_broken_off_is_not_told_as_if_nothing_was_written(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "a fox\nan owl\n"
    checked = digest(send(client, rows, name="a.txt"))
    with broken_off():
        submit(client, rows, name="a.txt", checked=checked)
    assert len(all_of(ledger)) == 2

    def refuse(*_: object, **__: object) -> None:
        raise RequestInvalid("its provider takes no such rows")

    monkeypatch.setattr("webhook.console.batch_files.submit_file", refuse)
    told = words(submit(client, rows, name="a.txt", checked=checked))
    assert "this form was sent before, and may have been carried out then; this time: its provider" in told


def test_a_form_without_a_key_is_refused(client: FlaskClient, ledger: Ledger) -> None:
    assert submit(client, once=None).status_code == 400
    assert all_of(ledger) == []


def test_a_body_that_is_too_large_is_refused(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    view = pages_of(client.application).view_functions["console.check_file"]
    monkeypatch.setattr(view, "largest_form", 1000, raising=False)
    assert send(client, "a fox\n" * 1000, name="a.txt").status_code == 413


def test_the_page_has_the_drop_zone_and_its_fields(client: FlaskClient) -> None:
    shown = get(client, "/submit")
    assert "Have a batch file? Drop it here" in words(shown)
    for name in ("batch_name", "batch_provider", "batch_priority", "batch_start", "batch_max_cost", "batch_template"):
        assert f'id="f-{name}"' in shown.text
