"""A batch comes in over HTTP: as a file or as JSON, each row once, and all that is wrong with it told at once."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request

from tasks.usecases.once_only import LEASE
from tests.broken_off import broken_off
from tests.clock import FakeClock
from webhook.api.app import create_app
from webhook.api.models.batches import BatchCheckDocument, BatchSubmittedDocument
from webhook.api.models.problem import Problem
from worker.errors import LedgerUnavailable, RequestInvalid
from worker.ledger import Ledger
from worker.services import Services

CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHEET = "sku,prompt,aspect_ratio,colour\n001,a fox,16:9,red\n002,an owl,1:1,grey\n"
ROWS = [{"key": "001", "prompt": "a fox"}, {"custom_id": "002", "body": {"prompt": "an owl", "aspect_ratio": "1:1"}}]
WITHOUT_KEYS = "a fox\nan owl\n"


def send(api: FlaskClient, content: str | bytes, media: str = CSV, query: str = "name=shop", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.post(f"/v1/batches?{query}", data=content, content_type=media, headers=named)


def send_json(api: FlaskClient, rows: object = ROWS, **more: object) -> TestResponse:
    return api.post("/v1/batches", json={"name": "shop", "generations": rows, **more})


def submitted(answer: TestResponse, status: int = 201) -> BatchSubmittedDocument:
    assert answer.status_code == status, answer.text
    return BatchSubmittedDocument.model_validate_json(answer.data)


def refused(answer: TestResponse, status: int, code: str) -> Problem:
    assert answer.mimetype == "application/problem+json"
    problem = Problem.model_validate_json(answer.data)
    assert (answer.status_code, problem.status, problem.code) == (status, status, code), answer.text
    return problem


def prompts(ledger: Ledger) -> list[str]:
    return sorted(one.prompt for one in ledger.generations.page(limit=1000))


def xlsx(*rows: tuple[object, ...]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return out.getvalue()


@pytest.mark.parametrize(
    ("media", "content"),
    [
        (CSV, SHEET),
        (f"{CSV}; charset=utf-8", f"\ufeff{SHEET}"),
        ("application/jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS)),
        ("application/x-ndjson", "".join(f"{json.dumps(row)}\n" for row in ROWS)),
        (XLSX, xlsx(("sku", "prompt"), ("001", "a fox"), ("002", "an owl"))),
    ],
)
def test_a_file_is_the_body_itself(
    api: FlaskClient, ledger: Ledger, wakes: list[str], media: str, content: str | bytes
) -> None:
    answer = send(api, content, media)
    made = submitted(answer)
    assert answer.headers["Location"] == f"/v1/batches/{made.batch}"
    assert (made.name, made.rows, made.created, made.existing) == ("shop", 2, 2, 0)
    assert prompts(ledger) == ["a fox", "an owl"]
    assert {one.key for one in ledger.generations.page()} == {"001", "002"}
    assert wakes == ["dispatch"]


def test_rows_come_in_json_too(api: FlaskClient, ledger: Ledger) -> None:
    made = submitted(send_json(api, options={"speed": "fast"}, labels={"client": "acme"}, priority=3))
    assert (made.rows, made.created) == (2, 2)
    owl = next(one for one in ledger.generations.page() if one.prompt == "an owl")
    assert owl.options == {"aspect_ratio": "1:1", "speed": "fast"}
    assert (owl.key, owl.priority) == ("002", 3)
    assert ledger.generations.labels_of([owl.id])[owl.id] == {"client": "acme"}


def test_options_of_a_file_are_in_the_query(api: FlaskClient, ledger: Ledger) -> None:
    query = (
        "name=shop&option=speed:fast&option=version:7&label=client:acme&priority=2&max_in_flight=1"
        "&start_at=2030-01-01T00:00:00%2B01:00&template=a+{colour}+thing&provider=acedata"
    )
    made = submitted(send(api, SHEET, query=query))
    assert prompts(ledger) == ["a grey thing", "a red thing"]
    assert {one.options["speed"] for one in ledger.generations.page()} == {"fast"}
    steering = ledger.batches.steering(str(made.batch))
    assert steering.max_in_flight == 1
    assert steering.start_at is not None
    assert steering.start_at.isoformat() == "2029-12-31T23:00:00+00:00"


def test_the_same_file_again_adds_nothing_and_one_with_more_rows_adds_these(
    api: FlaskClient, ledger: Ledger, wakes: list[str]
) -> None:
    first = submitted(send(api, SHEET))
    answer = send(api, SHEET)
    again = submitted(answer, 200)
    assert (again.batch, again.created, again.existing) == (first.batch, 0, 2)
    assert "Idempotent-Replayed" not in answer.headers
    more = submitted(send(api, f"{SHEET}003,a bear,1:1,brown\n"))
    assert (more.batch, more.created, more.existing) == (first.batch, 1, 2)
    assert wakes == ["dispatch"] * 2


def test_a_batch_is_named_by_its_file_unless_the_query_names_it(api: FlaskClient) -> None:
    header = "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fen.csv"
    assert submitted(send(api, SHEET, query="", Content_Disposition=header)).name == "Größen"
    problem = refused(send(api, SHEET, query=""), 422, "invalid")
    assert problem.errors is not None
    assert problem.errors[0].parameter == "name"


def test_all_that_is_wrong_with_the_rows_is_told_at_once_and_nothing_is_written(
    api: FlaskClient, ledger: Ledger, wakes: list[str]
) -> None:
    sheet = "sku,prompt,aspect_ratio,speed\n1,a fox,16:9,fast\n2,,1:1,\n3,a cat,9-16,warp\n3,a dog,1:1,\n"
    problem = refused(send(api, sheet), 422, "rows_invalid")
    assert problem.errors is not None
    assert [(one.line, one.column, one.value) for one in problem.errors] == [
        (3, "prompt", None),
        (4, "aspect_ratio", "9-16"),
        (4, "speed", "warp"),
        (5, "sku", "3"),
    ]
    assert problem.more_errors == 0
    assert "3 of 4 rows are invalid" in problem.detail
    assert "skip_invalid=true" in problem.detail
    assert "--" not in problem.detail
    assert (prompts(ledger), wakes) == ([], [])
    made = submitted(send(api, sheet, query="name=shop&skip_invalid=true"))
    assert (made.created, made.invalid) == (1, 3)


def test_a_mistake_in_json_has_its_pointer(api: FlaskClient) -> None:
    rows = [
        {"key": "a", "prompt": "a fox", "aspect_ratio": "x"},
        {"custom_id": "b", "body": {"prompt": "an owl", "speed": "warp"}},
        {"key": "c", "prompt": "a cat", "options": {"speed": "warp"}},
        {"key": "d", "prompt": ""},
    ]
    problem = refused(send_json(api, rows), 422, "rows_invalid")
    assert problem.errors is not None
    assert [one.pointer for one in problem.errors] == [
        "/generations/0/aspect_ratio",
        "/generations/1/body/speed",
        "/generations/2/options/speed",
        "/generations/3",
    ]


def test_a_thousand_mistakes_are_listed_and_the_others_counted(api: FlaskClient) -> None:
    sheet = "sku,prompt,speed\n" + "".join(f"{number},a fox,warp\n" for number in range(1003))
    problem = refused(send(api, sheet), 422, "rows_invalid")
    assert problem.errors is not None
    assert (len(problem.errors), problem.more_errors) == (1000, 3)
    assert "1,003 of 1,003" in problem.detail
    check = BatchCheckDocument.model_validate_json(send(api, sheet, query="name=shop&dry_run=true").data)
    assert (len(check.errors), check.more_errors, check.invalid) == (1000, 3, 1003)


@pytest.mark.parametrize("rows", [SHEET, "sku,prompt\n1,\n"])
def test_a_dry_run_says_what_a_check_says_and_writes_nothing(
    api: FlaskClient, ledger: Ledger, wakes: list[str], rows: str
) -> None:
    answer = send(api, rows, query="name=shop&dry_run=1")
    assert answer.status_code == 200
    check = BatchCheckDocument.model_validate_json(answer.data)
    assert (check.format, check.submissions) == ("csv", 2 if rows == SHEET else 0)
    assert (prompts(ledger), wakes) == ([], [])


@pytest.mark.parametrize(
    ("media", "content", "status", "told"),
    [
        ("application/jsonl", SHEET, 422, "this is a table: send it as text/csv"),
        (CSV, '{"prompt": "a fox"}\n', 422, "this is JSON lines: send it as application/jsonl"),
        ("text/plain", SHEET, 422, "this is a table"),
        (XLSX, SHEET, 422, "this is a table"),
        (XLSX, "just words\n", 422, "this is not a spreadsheet"),
        (CSV, xlsx(("prompt",), ("a fox",)), 422, "this is a spreadsheet"),
        ("application/jsonl", '[{"prompt": "a fox"}]', 422, "this is a JSON array: send JSON lines"),
        (CSV, "", 422, "empty"),
        (CSV, "prompt\na f\xf6x\n".encode("latin-1"), 422, "is not UTF-8"),
        ("image/png", SHEET, 415, "text/csv"),
        ("application/x-www-form-urlencoded", "name=shop", 415, "application/json"),
        ("application/json", "{", 400, "not valid JSON"),
    ],
)
def test_a_body_that_is_not_what_its_type_says_is_refused_with_a_sentence(
    api: FlaskClient, ledger: Ledger, media: str, content: str | bytes, status: int, told: str
) -> None:
    answer = send(api, content, media, query="" if media.endswith("json") else "name=shop")
    assert answer.status_code == status
    assert told in Problem.model_validate_json(answer.data).detail
    assert prompts(ledger) == []


def test_options_stand_in_the_query_of_a_file_and_in_the_body_of_json(api: FlaskClient) -> None:
    answer = api.post("/v1/batches?priority=3", json={"name": "shop", "generations": ROWS})
    assert refused(answer, 422, "invalid").errors[0].parameter == "priority"  # type: ignore[index]
    for query, parameter in (
        ("name=shop&nome=x", "nome"),
        ("name=shop&provider=nobody", "provider"),
        ("name=shop&option=speed", "option"),
        ("name=shop&option=speed:fast&option=speed:slow", "option"),
        ("name=shop&label=acme", "label"),
        ("name=shop&label=Client:acme", "label"),
        ("name=shop&label=a:b&label=a:c", "label"),
        ("name=shop&max_cost=0", "max_cost"),
        ("name=shop&operation=upscale", "operation"),
        ("name=shop&start_at=tomorrow", "start_at"),
        ("name=shop&start_at=2030-01-01T00:00:00", "start_at"),
        ("name=shop&start_at=0001-01-01T00:00:00%2B14:00", "start_at"),
    ):
        problem = refused(send(api, SHEET, query=query), 422, "invalid")
        assert problem.errors is not None
        assert problem.errors[0].parameter == parameter
    assert refused(send_json(api, provider="nobody"), 422, "invalid").errors[0].pointer == "/provider"  # type: ignore[index]


@pytest.mark.parametrize("name", ["%20", "x" * 256])
def test_a_name_that_no_batch_can_have_is_refused(api: FlaskClient, ledger: Ledger, name: str) -> None:
    detail = refused(send(api, SHEET, query=f"name={name}"), 422, "invalid").detail
    assert "with `name`" in detail
    assert prompts(ledger) == []


def test_a_key_that_no_index_takes_is_a_mistake_of_its_row(api: FlaskClient) -> None:
    problem = refused(send(api, f"sku,prompt\n{'k' * 513},a fox\n{'k' * 512},an owl\n"), 422, "rows_invalid")
    assert problem.errors is not None
    assert [(one.line, one.column) for one in problem.errors] == [(2, "sku")]


def test_a_file_that_is_too_large_is_refused_whether_or_not_it_says_so(
    api: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.api.batch_files.LARGEST_FILE", 100_000)
    large = SHEET + "".join(f"1{n:04},a fox,1:1,red\n" for n in range(5000))
    assert "100,000 bytes" in refused(send(api, large), 413, "request_entity_too_large").detail
    assert read_in_pieces(api, large.encode(), None)[0].status_code == 413
    assert prompts(ledger) == []


def test_a_file_is_read_in_pieces_and_never_held_as_a_whole(api: FlaskClient) -> None:
    filler = "x" * 5000
    large = "sku,prompt,note\n" + "".join(f"{number},a fox,{filler}\n" for number in range(600))
    answer, pieces = read_in_pieces(api, large.encode(), len(large), "dry_run=1")
    assert answer.status_code == 200
    assert BatchCheckDocument.model_validate_json(answer.data).rows == 600
    assert max(pieces) <= 64 * 1024
    assert len(pieces) >= len(large) // (64 * 1024)


def test_a_sender_that_hangs_up_has_sent_no_batch(api: FlaskClient, ledger: Ledger) -> None:
    answer, _ = read_in_pieces(api, SHEET.encode(), len(SHEET) + 1)
    assert answer.status_code == 400
    assert prompts(ledger) == []


class Pieces(io.BytesIO):
    """Notes how much is asked for at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.asked: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        self.asked.append(len(self.getbuffer()) if size is None or size < 0 else size)
        return super().read(size)


def read_in_pieces(
    api: FlaskClient, content: bytes, length: int | None, query: str = ""
) -> tuple[TestResponse, list[int]]:
    """`length`: what the request says; None for one in chunks."""
    path, from_here = f"/v1/batches?name=shop&{query}", {"REMOTE_ADDR": "127.0.0.1"}
    environ = EnvironBuilder(path, method="POST", content_type=CSV, environ_base=from_here).get_environ()
    stream = Pieces(content)
    environ["wsgi.input"] = stream
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    # Not by the client, which finds out the length by itself.
    answer = TestResponse(*run_wsgi_app(api.application, environ), request=Request(environ))
    return answer, stream.asked


# --- no file of the server ---

_opened: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event in {"open", "os.listdir", "os.scandir"}:
        _opened.append(str(arguments[0]))


@contextmanager
def opened_files() -> Iterator[list[str]]:
    global _opened  # noqa: PLW0603 - a hook cannot be taken away again
    if not getattr(sys, "_darkroom_hook", False):
        sys.addaudithook(_note)
        sys._darkroom_hook = True  # type: ignore[attr-defined]
    _opened = found = []
    try:
        yield found
    finally:
        _opened = None


@pytest.mark.parametrize("written", ["{path}", "file://{path}", "~/secret.png", "../secret.png", "darkroom:{path}"])
@pytest.mark.parametrize(
    ("option", "operation"),
    [("images", "imagine"), ("omni_image", "imagine"), ("mask", "edit"), ("images", "describe")],
)
def test_no_file_of_the_server_is_ever_read(
    api: FlaskClient,
    ledger: Ledger,
    here: Services,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    option: str,
    operation: str,
) -> None:
    home = here.settings.darkroom_data
    secret = home / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    monkeypatch.setenv("HOME", str(home))
    (home / "inner").mkdir()
    monkeypatch.chdir(home / "inner")
    path = written.format(path=secret)
    needed = {"images": "https://shop.example/a.png"} if option == "mask" else {}
    prompt = "" if operation == "describe" else "a fox"
    columns, cells = "".join(f",{name}" for name in needed), "".join(f",{link}" for link in needed.values())
    query = f"name=shop&operation={operation}&option={option}:{path}"
    with opened_files() as opened:
        answers = [
            send(api, f"sku,prompt,operation,{option}{columns}\n1,{prompt},{operation},{path}{cells}\n"),
            send(api, f"sku,prompt{columns}\n1,{prompt}{cells}\n", query=query),
            send_json(api, [{"key": "1", "prompt": prompt, "operation": operation, option: [path], **needed}]),
            send_json(api, [{"key": "1", "prompt": prompt, **needed}], operation=operation, options={option: path}),
        ]
    assert opened, "the copies of the files, at least"
    assert not [name for name in opened if "secret" in name]
    for answer in answers:
        problem = refused(answer, 422, "rows_invalid")
        assert option in problem.detail
    assert prompts(ledger) == []


# --- each row once ---


def test_rows_without_keys_need_an_idempotency_key(api: FlaskClient, ledger: Ledger) -> None:
    problem = refused(send(api, WITHOUT_KEYS, "text/plain"), 400, "idempotency_key_missing")
    assert "curl" in problem.detail
    assert "Idempotency-Key: " in problem.detail
    assert prompts(ledger) == []
    for key in ("", "a" * 256, "schlüssel"):
        refused(send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key=key), 400, "idempotency_key_invalid")
    assert submitted(send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order 1")).created == 2


def test_the_same_request_with_the_same_key_gets_the_same_answer(
    api: FlaskClient, ledger: Ledger, wakes: list[str]
) -> None:
    first = send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order-1")
    again = send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order-1")
    assert submitted(again, 200) == submitted(first)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    refused(send(api, f"{WITHOUT_KEYS}a bear\n", "text/plain", Idempotency_Key="order-1"), 422, "key_reused")
    query = "name=other"
    refused(send(api, WITHOUT_KEYS, "text/plain", query=query, Idempotency_Key="order-1"), 422, "key_reused")
    header = "attachment; filename=other.txt"
    named = {"Content_Disposition": header, "Idempotency_Key": "order-1"}
    refused(send(api, WITHOUT_KEYS, "text/plain", query="", **named), 422, "key_reused")
    assert (prompts(ledger), wakes) == (["a fox", "an owl"], ["dispatch"])


@pytest.mark.parametrize("as_json", [False, True])
def test_an_answer_is_kept_whatever_is_set_up_otherwise_since(here: Services, wakes: list[str], as_json: bool) -> None:
    address, named = "https://shop.example/done", {"Idempotency-Key": "order-1"}

    def ask(settings: dict[str, object]) -> TestResponse:
        here.settings = here.settings.model_copy(update=settings)
        api = create_app(here).test_client()
        if as_json:
            asked = {"name": "shop", "generations": ROWS, "notify": address}
            return api.post("/v1/batches", json=asked, headers=named)
        return api.post(f"/v1/batches?name=shop&notify={address}", data=SHEET, content_type=CSV, headers=named)

    first = submitted(ask({"darkroom_notify_secret": SecretStr("whsec_" + "c2VjcmV0" * 5)}))
    again = ask({"darkroom_notify_secret": None})
    assert submitted(again, 200) == first
    assert again.headers["Idempotent-Replayed"] == "true"
    assert wakes == ["dispatch"]


def test_a_refused_request_leaves_its_key_to_the_corrected_one(api: FlaskClient) -> None:
    refused(send(api, "prompt,speed\na fox,warp\n", Idempotency_Key="order-1"), 422, "rows_invalid")
    assert submitted(send(api, "prompt,speed\na fox,fast\n", Idempotency_Key="order-1")).created == 1


@pytest.mark.parametrize("key", [None, "order-1"])
def test_while_it_is_carried_out_the_same_request_is_told_to_wait(
    api: FlaskClient, here: Services, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    import webhook.api.batches as door  # noqa: PLC0415

    carry_out, meanwhile = door.submit_file, []
    headers = {} if key is None else {"Idempotency_Key": key}

    def slowly(*arguments: Any, **options: Any) -> Any:
        meanwhile.append(send(api, SHEET, **headers))
        return carry_out(*arguments, **options)

    monkeypatch.setattr(door, "submit_file", slowly)
    assert submitted(send(api, SHEET, **headers)).created == 2
    (told,) = meanwhile
    problem = refused(told, 409, "key_in_use")
    assert told.headers["Retry-After"]
    assert (key or "shop") in problem.detail
    monkeypatch.setattr(door, "submit_file", carry_out)
    assert submitted(send(api, SHEET, **headers), 200).batch


class Died(BaseException):
    pass


@pytest.mark.parametrize("key", [None, "order-1"])
def test_what_died_in_the_middle_is_completed_by_the_same_request_when_its_lease_is_over(
    api: FlaskClient, ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    headers = {} if key is None else {"Idempotency_Key": key}

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        for verb in ("keep_request", "forget_request", "give_up_request"):
            patch.setattr(ledger.access, verb, die)
        with pytest.raises(Died):
            send(api, SHEET, **headers)
    assert len(prompts(ledger)) == 2, "the rows are written, and nobody was told"
    refused(send(api, SHEET, **headers), 409, "key_in_use")
    clock.advance(LEASE.total_seconds() + 1)
    made = submitted(send(api, SHEET, **headers), 200)
    assert (made.created, made.existing) == (0, 2)
    assert len(prompts(ledger)) == 2


def test_one_that_is_refused_after_it_was_broken_off_is_not_told_as_if_nothing_was_written(
    api: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken_off():
        send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order-1")
    assert len(prompts(ledger)) == 2
    # By now, its provider takes no such rows any more, say.
    monkeypatch.setattr("webhook.api.batches.submit_file", refusing("2 of 2 rows are invalid: nothing was written"))
    problem = refused(send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order-1"), 409, "sent_before")
    assert problem.detail == (
        "this request was sent before, and may have been carried out then; this time: 2 of 2 rows are invalid: nothing "
        "was written"
    )
    other = refused(send(api, WITHOUT_KEYS, "text/plain", Idempotency_Key="order-2"), 422, "invalid")
    assert other.detail == "2 of 2 rows are invalid: nothing was written"


def refusing(why: str) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise RequestInvalid(why)

    return refuse


def test_an_answer_says_why_its_rows_wait_and_what_looks_misspelt(
    here: Services, wakes: list[str], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: USD\nprices:\n  - {provider: acedata, price: 0.05}\ncaps:\n  day: 0.07\n")
    here.settings = here.settings.model_copy(update={"darkroom_prices": prices})
    api = create_app(here).test_client()
    made = submitted(send(api, "sku,prompt,aspect_ration\n1,a fox,1:1\n2,an owl,1:1\n"))
    assert any("waits until there is room" in one for one in made.waits), made.waits
    assert any("aspect_ratio" in one for one in made.warnings)


@pytest.mark.parametrize(("key", "verb"), [("order-7", "keep_request"), (None, "forget_request")])
def test_a_batch_whose_key_cannot_be_completed_is_an_unknown_outcome_and_is_not_written_twice(
    api: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, clock: FakeClock, key: str | None, verb: str
) -> None:
    def cut(*_: object) -> None:
        raise LedgerUnavailable("the ledger is away")

    headers = {} if key is None else {"Idempotency_Key": key}
    with monkeypatch.context() as patch:
        patch.setattr(f"worker.ledger.access.long_requests.LongRequests.{verb}", cut)
        problem = refused(send(api, SHEET, **headers), 503, "outcome_unknown")
    assert "it is carried out" in problem.detail
    clock.advance(LEASE.total_seconds() + 1)
    assert submitted(send(api, SHEET, **headers), 200).existing == 2
    assert len(prompts(ledger)) == 2
