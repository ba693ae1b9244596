"""The page `/gallery`: what stands in its address, what it shows of hostile texts, and what its forms do."""

import html
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests import s3
from tests.broken_off import broken_off
from tests.factories import LEASE, archived, failure, new, submitted
from tests.kept import kept
from tests.patience import wait_for
from tests.webhook.console.conftest import at_work_with
from tests.worker.ledger.test_thumbnails import MADE
from webhook.api.app import create_app
from webhook.console import bulk
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.assets import ThumbnailResult
from worker.ledger.schema import assets
from worker.services import Services
from worker.settings.settings import load_settings

HTML = {"Accept": "text/html"}
HOSTILE = """<script>alert(1)</script>" onload="x" '><img src=x onerror=alert(2)>{{ 7*7 }} javascript:alert(3)"""


@pytest.fixture
def look(client: FlaskClient) -> Callable[..., TestResponse]:
    def get(path: str, **headers: str) -> TestResponse:
        return client.get(path, headers=HTML | headers, base_url="http://127.0.0.1")

    return get


def picks(page: str) -> list[str]:
    return re.findall(r'data-pick="([^"]*)"', page)


def fields(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that goes there."""
    form = page[page.index(f'action="{action}"') :].partition("</form>")[0]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    return {name: html.unescape(value) for name, value in found}


def post(client: FlaskClient, path: str, form: dict[str, str]) -> TestResponse:
    return client.post(path, data=form, headers=HTML, base_url="http://127.0.0.1")


def test_pictures_are_shown_newest_first(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    ids = archived(ledger, 3)
    assert picks(look("/gallery").text) == [f"{one}.0" for one in sorted(ids, reverse=True)]


def test_an_empty_gallery_says_what_to_do(look: Callable[..., TestResponse]) -> None:
    page = look("/gallery").text
    assert "No images yet" in page
    assert "darkroom submit" in page
    assert 'id="bulk"' not in page
    page = look("/gallery?q=zebra").text
    assert "Nothing matches" in page


def test_filters_stand_in_the_address_and_each_can_be_removed(
    look: Callable[..., TestResponse], ledger: Ledger
) -> None:
    archived(ledger, 2, batch="spring", labels={"client": "a&b"}, key=None)
    archived(ledger)
    page = look("/gallery?batch=spring&label=client%3Da%26b").text
    assert len(picks(page)) == 2
    assert 'href="/gallery?batch=spring"' in page
    assert 'href="/gallery?label=client%3Da%26b"' in page
    assert "Clear all" in page
    assert 'value="spring"' in page


def test_fields_without_a_value_are_left_out_of_the_address(look: Callable[..., TestResponse]) -> None:
    answer = look("/gallery?q=fox&batch=&state=&provider=&label=&since=")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/gallery?q=fox")


@pytest.mark.parametrize(
    "query", ["state=odd", "operation=odd", "label=odd", "since=3+May", "provider=odd", "after=odd", "batch=nowhere"]
)
def test_a_filter_that_means_nothing_is_a_page_with_a_remedy(look: Callable[..., TestResponse], query: str) -> None:
    answer = look(f"/gallery?{query}")
    assert answer.status_code in {404, 422}
    assert answer.mimetype == "text/html"
    assert "odd" not in query or "odd" in answer.text or "first one" in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "batch=spring&batch=autumn", "state=failed&state=archived", "label=client%3Da&label=client%3Db",
        "&".join(f"label=l{number}%3D1" for number in range(11)),
    ],
)  # fmt: skip
def test_no_filter_of_an_address_is_left_out(look: Callable[..., TestResponse], ledger: Ledger, query: str) -> None:
    archived(ledger, batch="spring")
    answer = look(f"/gallery?{query}")
    assert answer.status_code == 422
    assert "keep one" in answer.text or "but the limit is 10" in answer.text


def test_the_same_filter_twice_is_one(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    archived(ledger, batch="spring")
    page = look("/gallery?batch=spring&batch=spring").text
    assert (len(picks(page)), page.count("Remove the filter")) == (1, 1)


@pytest.mark.parametrize("query", ["until=9999-12-31", "since=0001-01-01"])
def test_the_calendar_has_no_edge(look: Callable[..., TestResponse], ledger: Ledger, query: str) -> None:
    archived(ledger)
    assert len(picks(look(f"/gallery?{query}").text)) == 1


@pytest.mark.parametrize("path", ["/gallery", "/gallery?state=failed", "/gallery?state=queued"])
def test_hostile_texts_stay_texts(look: Callable[..., TestResponse], ledger: Ledger, path: str) -> None:
    facts = {"batch": HOSTILE, "key": HOSTILE, "labels": {"client": HOSTILE}}
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim, message=HOSTILE)])
    archived(ledger, **facts)
    ledger.generations.create([new(HOSTILE, key=None)])
    answer = look(path)
    assert answer.status_code == 200
    page = answer.text
    assert len(picks(page)) == 1
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', page))
    # Nothing of it is read by htmx, encoded or not.
    for value in re.findall(r'\shx-[\w:-]+=["\']([^"\']*)["\']', page):
        assert "alert" not in value


def test_hostile_filters_are_encoded_in_every_address(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    for _ in range(2):
        archived(ledger, 60)
    page = look(f"/gallery?label=client%3D{'%22%3E%3Cscript%3E'}").text
    assert "<script>" not in page.partition("<main")[2]


def test_the_next_page_is_a_link_and_a_fragment_for_htmx(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    ids = sorted(archived(ledger, 130), reverse=True)
    page = look("/gallery").text
    assert picks(page) == [f"{one}.0" for one in ids[:100]]
    address = f"/gallery?after={ids[99]}"
    assert f'href="{address}" hx-get="{address}"' in page
    fragment = look(address, **{"HX-Request": "true"}).text
    assert picks(fragment) == [f"{one}.0" for one in ids[100:]]
    assert "<html" not in fragment
    assert 'id="more" class="more" hx-swap-oob="true"' in fragment
    assert picks(look(address).text) == picks(fragment)


def test_a_tile_has_its_size_before_its_picture_is_there(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    archived(ledger)
    page = look("/gallery").text
    assert 'class="tile r13"' in page
    assert 'width="1024" height="768" loading="lazy" decoding="async"' in page


def test_no_link_of_the_bucket_and_of_no_provider_is_in_the_page(
    look: Callable[..., TestResponse], ledger: Ledger
) -> None:
    archived(ledger)
    page = look("/gallery").text
    assert "X-Amz" not in page
    assert "cdn.example" not in page


def failed(ledger: Ledger, number: int) -> list[str]:
    claims = submitted(ledger, number)
    ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    return [claim.generation.id for claim in claims]


def test_an_action_on_all_that_match_shows_first_what_it_would_do(
    look: Callable[..., TestResponse], client: FlaskClient, ledger: Ledger, rung: list[str]
) -> None:
    archived(ledger, 2, batch="spring")
    batch_id = ledger.generations.newest_batch("spring")
    claims = submitted(ledger, 3, batch_id=batch_id)
    ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    form = fields(look("/gallery?batch=spring&state=failed").text, "/gallery/actions")
    assert form["batch"] == "spring"
    # What fails now was not on the page.
    failed(ledger, 1)
    seen = post(client, "/gallery/actions", form | {"action": "retry"})
    assert "3 of 3 generations can be submitted again" in " ".join(seen.text.split())
    confirmed = fields(seen.text, "/gallery/actions/confirmed")
    answers = [post(client, "/gallery/actions/confirmed", confirmed) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {303}
    address = answers[0].headers["Location"]
    assert parse_qs(urlsplit(address).query)["number"] == ["3"]
    assert ledger.generations.counts()[State.QUEUED] == 3
    assert "dispatch" in rung
    assert "3 submitted again." in look(address).text


def test_an_action_that_was_broken_off_is_not_told_as_if_it_had_done_nothing(
    look: Callable[..., TestResponse], client: FlaskClient, ledger: Ledger
) -> None:
    ids = failed(ledger, 2)
    form = {"action": "retry", "picks": " ".join(ids)}
    confirmed = fields(post(client, "/gallery/actions", form).text, "/gallery/actions/confirmed")
    with broken_off():
        post(client, "/gallery/actions/confirmed", confirmed)
    assert {one.state for one in ledger.generations.get(ids)} == {State.QUEUED}
    told = look(post(client, "/gallery/actions/confirmed", confirmed).headers["Location"]).text
    assert "0 submitted again; 2 left alone. This form was sent before, and may have been carried out then." in told


def test_an_action_on_a_selection_says_why_not(client: FlaskClient, ledger: Ledger) -> None:
    (stored,), (lost,) = archived(ledger), failed(ledger, 1)
    form = {"action": "retry", "picks": f"{stored}.0 {lost}", "once": "k" * 24}
    page = post(client, "/gallery/actions", form).text
    assert "1 of 2 generations can be submitted again" in " ".join(page.split())
    assert "already succeeded" in page


def test_delete_needs_the_number_typed(client: FlaskClient, ledger: Ledger) -> None:
    ids = archived(ledger, 2)
    form = {"action": "delete", "picks": " ".join(f"{one}.0" for one in ids)}
    confirmed = fields(post(client, "/gallery/actions", form).text, "/gallery/actions/confirmed")
    assert post(client, "/gallery/actions/confirmed", confirmed | {"typed": "3"}).status_code == 422
    assert {one.state for one in ledger.generations.get(ids)} == {State.ARCHIVED}
    assert post(client, "/gallery/actions/confirmed", confirmed | {"typed": " 2 "}).status_code == 303
    assert {one.state for one in ledger.generations.get(ids)} == {State.DELETED}


@pytest.mark.parametrize(
    "change", [{"once": ""}, {"once": "no key"}, {"most": "many"}, {"newest": "odd"}, {"picks": "odd"}, {"most": ""}]
)
def test_a_form_that_was_tampered_with_changes_nothing(
    client: FlaskClient, ledger: Ledger, change: dict[str, str]
) -> None:
    ids = failed(ledger, 1)
    form = {"action": "retry", "picks": ids[0], "newest": ids[0], "most": "1", "once": "k" * 24}
    assert post(client, "/gallery/actions/confirmed", form | change).status_code == 422
    assert ledger.generations.get(ids)[0].state is State.FAILED


@pytest.fixture
def here(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rclone: s3.Server) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    s3.use_bucket(monkeypatch, rclone, tmp_path)
    services = Services(load_settings())
    yield services
    services.close()


def test_a_download_is_a_zip_of_the_length_that_it_announces(here: Services) -> None:
    kept(here.ledger, here.archive, 3, batch="spring")
    client = at_work_with(create_app(here))
    page = post(client, "/gallery/actions", {"action": "download", "batch": "spring"}).text
    assert "3 of 3 images can be downloaded" in " ".join(page.split())
    answer = post(client, "/gallery/download", fields(page, "/gallery/download"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="spring.zip"'
    assert answer.content_length == len(answer.data)
    assert len(zipfile.ZipFile(io.BytesIO(answer.data)).namelist()) == 3
    assert client.get("/gallery/download?batch=spring", base_url="http://127.0.0.1").data == answer.data


def test_only_a_few_download_at_once_and_a_place_is_free_again_when_one_goes_away(here: Services) -> None:
    kept(here.ledger, here.archive, 1)
    client = at_work_with(create_app(here))
    held = [client.get("/gallery/download", base_url="http://127.0.0.1") for _ in range(bulk.MOST_DOWNLOADS)]
    refused = client.get("/gallery/download", base_url="http://127.0.0.1", headers=HTML)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    held[0].close()
    assert client.get("/gallery/download", base_url="http://127.0.0.1").status_code == 200
    for answer in held[1:]:
        answer.close()


def test_a_picture_is_a_redirection_and_a_thumbnail_that_is_not_made_is_asked_for(
    here: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    is_rung = Event()

    def ring(step: str) -> bool:
        rung.append(step)
        is_rung.set()
        return True

    monkeypatch.setattr("webhook.shared.ring", ring)
    (asset,) = kept(here.ledger, here.archive, 1)
    client = at_work_with(create_app(here))
    original = client.get(f"/originals/{asset.generation_id}/0", base_url="http://127.0.0.1")
    assert original.status_code == 302
    assert original.headers["Cache-Control"] == "private, max-age=1800"
    thumbnail = client.get(f"/thumbs/{asset.generation_id}/0", base_url="http://127.0.0.1")
    assert thumbnail.status_code == 404
    wait_for(is_rung.is_set, 10)
    assert rung == ["thumbnail"]
    assert client.get("/thumbs/gen_none/0", base_url="http://127.0.0.1").status_code == 404


def test_a_thumbnail_that_is_gone_from_the_bucket_is_made_again(here: Services) -> None:
    """As after a restore of the bucket without them; a browser that could not load it asks once more."""
    (asset,) = kept(here.ledger, here.archive, 1)
    client = at_work_with(create_app(here))
    key = here.archive.keys.thumbnail_beside(str(asset.object_key))
    here.archive.overwrite(key, b"small", content_type="image/webp", metadata={})
    here.ledger.assets.want_thumbnails([asset.id])
    claims = here.ledger.assets.claim_thumbnails(1, LEASE)
    here.ledger.assets.record_thumbnails([ThumbnailResult(one, MADE) for one in claims])

    def status(query: str = "") -> int:
        return client.get(f"/thumbs/{asset.generation_id}/0{query}", base_url="http://127.0.0.1").status_code

    assert (status(), status("?try=1")) == (302, 302)
    here.archive.delete(key)
    assert (status(), status("?try=1"), status()) == (302, 404, 404)
    (claim,) = here.ledger.assets.claim_thumbnails(9, LEASE)
    here.ledger.assets.record_thumbnails([ThumbnailResult(claim, MADE)])
    assert status() == 302


def test_similar_pictures_are_never_all_that_match(
    client: FlaskClient, look: Callable[..., TestResponse], ledger: Ledger
) -> None:
    """The others of the batch are not on the page."""
    (one, *_) = archived(ledger, 3, batch="spring")
    form = {"batch": "spring", "similar": "1", "action": "delete", "picks": ""}
    answer = post(client, "/gallery/actions", form)
    assert answer.status_code == 422
    assert "selected" in answer.text
    assert "1 of 1 generations" in post(client, "/gallery/actions", form | {"picks": f"{one}.0"}).text


def test_similar_pictures_of_a_batch_are_groups(look: Callable[..., TestResponse], ledger: Ledger) -> None:
    ids = archived(ledger, 4, batch="spring")
    page = look("/gallery?batch=spring&similar=1").text
    assert "4 images of this batch have no thumbnail yet" in page
    with ledger.database.write() as connection:
        for id_, dhash in zip(ids, (0, 3, 2**62 - 1, 7), strict=True):
            made = {"thumbnail": "made", "dhash": dhash, "colour": 0xC08040}
            connection.execute(update(assets).where(assets.c.generation_id == id_).values(made))
    page = look("/gallery?batch=spring&similar=1").text
    assert "3 alike" in page
    assert picks(page) == [f"{ids[place]}.0" for place in (0, 1, 3)]
    assert 'fill="#c08040"' in page
    assert 'href="/gallery?batch=spring">All images' in page


def test_a_filter_names_the_provider_as_other_pages_do(look: Callable[..., TestResponse]) -> None:
    page = look("/gallery?provider=acedata").text
    assert "Provider: <b>Ace Data Cloud</b>" in page
    assert 'aria-label="Remove the filter Provider: Ace Data Cloud"' in page
