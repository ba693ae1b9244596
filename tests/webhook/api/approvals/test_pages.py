"""The pages under signed links: looking decides nothing, one POST decides, and nothing in them can be executed."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tasks.usecases.approval_links import approval_links
from tests.clock import FakeClock
from tests.factories import at_once
from tests.webhook.api.approvals.conftest import Ask
from webhook.api.app import create_app
from worker.errors import ArchiveError, CommitUnknown, ConfigurationError
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, Approvals, ApprovalState
from worker.secrets import redact
from worker.services import Services

CONSOLE = "https://darkroom.example/studio"
OLD, NEW = "k1:" + "o" * 32, "k2:" + "n" * 32
HOSTILE = '<script>alert(1)</script> "onload=alert(1) {{ 7*7 }} https://cdn.example/a.png?token=secret-of-somebody'


@pytest.fixture
def here(services_for: Callable[..., Services], tmp_path: Path) -> Services:
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: USD\nprices: [{provider: acedata, price: 0.05}]\n")
    return services_for(console_url=CONSOLE, darkroom_signing_keys=OLD, darkroom_prices=prices)


@pytest.fixture
def pages(here: Services, rung: list[str]) -> FlaskClient:
    return create_app(here).test_client()


@pytest.fixture
def path_of(here: Services) -> Callable[[Approval], str]:
    return lambda approval: approval_links(here.settings)(approval.id).removeprefix(CONSOLE)


def children(ledger: Ledger, approval: Approval) -> int:
    return len(ledger.generations.story(approval.generation_id).children)


def text_of(answer: TestResponse) -> str:
    assert answer.content_type == "text/html; charset=utf-8"
    return answer.get_data(as_text=True)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_shows_what_is_to_be_decided(pages: FlaskClient, ask: Ask, path_of: Callable[..., str]):
    page = text_of(pages.get(path_of(ask(key="sku-7", batch="spring"))))
    for expected in (
        "sku-7",
        "spring",
        "fox 0",
        "0.05 USD per image",
        "24 November 2026, 12:00 UTC",
        "nothing follows",
    ):
        assert expected in page
    elements = Elements(page)
    boxes = [one["value"] for one in elements.of("input") if one.get("type") == "checkbox"]
    assert boxes == ["1", "2", "3", "4"]
    assert [(one["name"], one["value"]) for one in elements.of("button")] == [
        ("decision", "approve"),
        ("decision", "reject"),
    ]
    assert elements.of("form") == [{"method": "post", "accept-charset": "utf-8"}]
    assert {"script", "iframe", "style", "object"}.isdisjoint(tag for tag, _ in elements.found)


def test_a_scanner_that_follows_every_link_in_every_way_but_post_decides_nothing(
    pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str]
):
    approval = ask()
    path = path_of(approval)
    links = [path, f"{path}?decision=approve&pick=1", f"{path}?decision=reject"]
    links += [f"/approvals/{one}" for one in re.findall(r'(?:src|href)="([^"]+)"', text_of(pages.get(path)))]
    for link in links:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
            for purpose in ({}, {"Sec-Purpose": "prefetch;prerender"}, {"X-HTTP-Method-Override": "POST"}):
                pages.open(link, method=method, headers=purpose)
    assert ledger.approvals.get(approval.id) == approval
    assert ledger.access.actions() == []


def test_a_post_decides_and_the_same_again_is_welcome(
    pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str], rung: list[str]
):
    approval = ask()
    path = path_of(approval)
    form = {"decision": "approve", "pick": ["4", "2"], "name": " Ada \n <b>", "why": "sharp"}
    first, second = (pages.post(path, data=form) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert "Approved: images 2, 4" in text_of(first)
    assert "nothing was changed" in text_of(second)
    decided = ledger.approvals.get(approval.id)
    assert (decided.picked, decided.decided_by, decided.why) == ([2, 4], "link (Ada <b>)", "sharp")
    assert "link (Ada &lt;b&gt;)" in text_of(second)
    assert children(ledger, approval) == 2
    assert "dispatch" in rung
    late = pages.post(path, data={"decision": "reject"})
    assert late.status_code == 409
    assert "came too late" in text_of(late)
    assert "link (Ada &lt;b&gt;)" in text_of(late)
    assert "21 November 2026, 12:00 UTC" in text_of(late)
    looked = pages.get(path)
    assert (looked.status_code, "Approved: images 2, 4" in text_of(looked)) == (200, True)
    assert Elements(text_of(looked)).of("button") == []
    assert [(one.door, one.actor, one.subject) for one in ledger.access.actions()][-1] == (
        "link", "link (Ada <b>)", approval.id,
    )  # fmt: skip


def test_a_rejection_needs_no_image(pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str]):
    approval = ask()
    answer = pages.post(path_of(approval), data={"decision": "reject", "pick": "1"})
    assert "All images rejected" in text_of(answer)
    decided = ledger.approvals.get(approval.id)
    assert (decided.state, decided.decided_by) == (ApprovalState.REJECTED, "link")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"decision": "approve"}, "Select at least one image, or reject all of them."),
        ({"decision": "approve", "pick": "9"}, "There is no image 9; the images are 1, 2, 3, 4."),
        ({"decision": "approve", "pick": ["2", "²"]}, "Give the images as numbers, counted from 1."),
        ({"pick": "1"}, "Choose whether to approve or to reject."),
        ({}, "Choose whether to approve or to reject."),
    ],
)
def test_an_incomplete_form_is_shown_again_with_its_boxes(
    pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str], form: dict[str, object], told: str
):
    approval = ask()
    answer = pages.post(path_of(approval), data=form)
    assert answer.status_code == 422
    assert told in text_of(answer)
    boxes = [one["value"] for one in Elements(text_of(answer)).of("input") if "checked" in one]
    assert boxes == [one for one in "1234" if one in form.get("pick", ())]  # type: ignore[operator]
    assert ledger.approvals.get(approval.id) == approval


def test_of_two_people_at_once_one_decides(here: Services, ledger: Ledger, ask: Ask, path_of: Callable[..., str], rung):
    app = create_app(here)
    for approval in [ask() for _ in range(5)]:
        path = path_of(approval)

        def decide(picked: str, path: str = path) -> int:
            return app.test_client().post(path, data={"decision": "approve", "pick": picked}).status_code

        answers = at_once(*[lambda picked=picked: decide(picked) for picked in "123"])  # type: ignore[misc]
        assert Counter(answers) == {200: 1, 409: 2}
        assert children(ledger, approval) == 1


def test_what_expired_is_a_page_with_the_way_at_the_command_line(
    pages: FlaskClient, ledger: Ledger, clock: FakeClock, ask: Ask, path_of: Callable[..., str]
):
    approval = ask()
    path = path_of(approval)
    clock.advance(timedelta(days=3).total_seconds())
    looked = pages.get(path)
    assert looked.status_code == 200
    assert f"darkroom submit --parent {approval.generation_id}" in text_of(looked)
    late = pages.post(path, data={"decision": "approve", "pick": "1"})
    assert (late.status_code, "expired on" in text_of(late)) == (409, True)
    assert (ledger.approvals.get(approval.id), children(ledger, approval)) == (approval, 0)


def test_a_link_works_after_its_key_was_replaced_and_not_after_it_was_removed(
    services_for: Callable[..., Services], rung: list[str], ask: Ask, path_of: Callable[..., str]
):
    path = path_of(ask())

    def status(keys: str | None) -> int:
        app = create_app(services_for(console_url=None, darkroom_signing_keys=keys))
        return app.test_client().get(path).status_code

    assert [status(keys) for keys in (f"{NEW},{OLD}", NEW, None)] == [200, 404, 404]


def test_forged_links_lead_nowhere(pages: FlaskClient, ask: Ask, path_of: Callable[..., str]):
    approval, other = ask(), ask()
    path, signature = path_of(approval).rsplit(".", 1)
    for forged in (
        f"/approvals/{approval.id}",
        f"{path}.",
        f"{path}.{signature[:-2]}",
        f"{path}.{signature.swapcase()}",
        f"/approvals/{other.id}.{signature}",
        f"/approvals/{'a' * 5000}.{signature}",
        "/approvals/%F0%9F%92%A9.%ED%A0%80",
        "/approvals/.",
    ):
        for method in ("GET", "POST"):
            answer = pages.open(forged, method=method, data={"decision": "reject"} if method == "POST" else None)
            assert answer.status_code == 404, forged
            assert approval.id not in answer.get_data(as_text=True)


def test_every_answer_keeps_the_link_to_itself(pages: FlaskClient, ask: Ask, path_of: Callable[..., str]):
    path = path_of(ask())
    for answer in (
        pages.get(path),
        pages.post(path, data={}),
        pages.get("/approvals/none"),
        pages.get(path + "/images/9"),
    ):
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["Cache-Control"] == "no-store"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'")
        assert "unsafe" not in policy
    assert pages.get("/approvals/style.css").content_type == "text/css; charset=utf-8"


def test_nothing_of_a_prompt_is_executed_or_gives_a_secret_away(
    services_for: Callable[..., Services], pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr("tests.factories.new", _hostile)
    page = text_of(pages.get(path_of(ask(key=HOSTILE[:60], batch="<b>"))))
    assert "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "secret-of-somebody" not in page
    elements = Elements(page)
    assert elements.of("script") == elements.of("b") == []
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]


def _hostile(prompt: str, **facts: object) -> object:
    from tests import factories  # noqa: PLC0415  the function that this one replaces

    del prompt
    request = factories.GenerationRequest(operation=factories.Operation.IMAGINE, prompt=HOSTILE)
    return factories.NewGeneration(provider=factories.PROVIDER, request=request, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "null"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://darkroom.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://["}, 403),
    ],
)
def test_a_page_of_another_site_decides_nothing(
    pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str], headers: dict[str, str], status: int
):
    approval = ask()
    answer = pages.post(path_of(approval), data={"decision": "reject"}, headers=headers)
    assert answer.status_code == status
    assert (ledger.approvals.get(approval.id).state is ApprovalState.ASKED) == (status == 403)


def test_images_come_from_the_bucket_under_the_same_link(
    here: Services, pages: FlaskClient, ask: Ask, path_of: Callable[..., str]
):
    closed: list[str] = []

    @contextmanager
    def read(key: str) -> Iterator[Iterator[bytes]]:
        try:
            yield iter([b"a" * 1000, b"b" * 234])
        finally:
            closed.append(key)

    here.__dict__["archive"] = SimpleNamespace(read=read)
    path = path_of(ask())
    with pages.get(f"{path}/images/0") as image:
        assert (image.content_type, image.data) == ("image/png", b"a" * 1000 + b"b" * 234)
        assert image.headers["Referrer-Policy"] == "no-referrer"
    head = pages.head(f"{path}/images/0")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "1234")
    assert closed == ["pictures/0.png"]
    assert pages.get(f"{path}/images/1").status_code == 404
    assert pages.get("/approvals/forged/images/0").status_code == 404


def test_a_bucket_or_a_ledger_that_is_away_is_told_in_words(
    here: Services, pages: FlaskClient, ledger: Ledger, ask: Ask, path_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def away(key: str) -> None:
        raise ArchiveError(f"no bucket for {key}")

    here.__dict__["archive"] = SimpleNamespace(read=away)
    path = path_of(ask())
    assert pages.get(f"{path}/images/0").status_code == 503

    def cut(*_: object, **__: object) -> None:
        raise CommitUnknown("the connection broke")

    monkeypatch.setattr(Approvals, "decide", cut)
    answer = pages.post(path, data={"decision": "reject"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "Send it again: it is carried out once." in text_of(answer)


def test_a_link_is_redacted_wherever_it_is_logged(
    here: Services, pages: FlaskClient, ask: Ask, path_of: Callable[..., str], caplog: pytest.LogCaptureFixture
):
    approval = ask()
    link = approval_links(here.settings)(approval.id)
    assert redact(f"see {link}?x") == f"see {CONSOLE}/approvals/{approval.id}.[redacted]?x"
    with caplog.at_level(logging.DEBUG):
        pages.post(path_of(approval), data={"decision": "approve", "pick": "1"})
    assert f"{approval.id} was decided" in caplog.text
    assert link.rsplit(".", 1)[1] not in caplog.text


def test_without_an_address_for_people_a_link_leads_to_this_machine(services_for: Callable[..., Services]):
    def link(**settings: object) -> str:
        return approval_links(services_for(darkroom_signing_keys=OLD, **settings).settings)("apr_1")

    assert link(api_host="0.0.0.0", api_port=9001).startswith("http://127.0.0.1:9001/approvals/apr_1.")
    assert link(api_host="::1").startswith("http://[::1]:8001/approvals/apr_1.")
    with pytest.raises(ConfigurationError, match="DARKROOM_SIGNING_KEYS is not set"):
        approval_links(services_for().settings)
