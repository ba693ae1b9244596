"""GET /v1/assets: a link to our copy, or why there is none."""

import pytest
import urllib3
from flask.testing import FlaskClient

from tests.tasks.cli import stories
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Postponed
from worker.ledger.changes import Person
from worker.secrets import configure_logging
from worker.services import Services


def stored(here: Services, generation_id: str, content: bytes) -> None:
    """What lies in the bucket under the key that the ledger has."""
    (asset,) = here.ledger.generations.assets_of([generation_id])[generation_id]
    here.archive.overwrite(str(asset.object_key), content, content_type="image/png", metadata={})


def test_an_image_is_a_redirection_to_a_link_that_works(here: Services, ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.archived(ledger)
    stored(here, generation_id, b"the image")
    answer = api.get(f"/v1/assets/{generation_id}/0")
    assert (answer.status_code, answer.data) == (302, b"")
    assert answer.headers["Cache-Control"] == "private, max-age=1800"
    link = answer.headers["Location"]
    assert "X-Amz-Expires=3600" in link
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", link, timeout=10).data == b"the image"


def test_the_link_is_in_no_log_and_not_in_the_ledger(
    ledger: Ledger, api: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("DEBUG")
    generation_id = stories.archived(ledger)
    link = api.get(f"/v1/assets/{generation_id}/0").headers["Location"]
    signature = link.partition("X-Amz-Signature=")[2]
    assert signature
    written = capsys.readouterr()
    assert "DEBUG" in written.err
    assert signature not in written.err + written.out
    assert signature not in str(ledger.generations.story(generation_id))


def test_a_text_is_the_answer_itself(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.told(ledger, prompts=["a fox in the snow", "ein Füchschen"])
    answer = api.get(f"/v1/assets/{generation_id}/0")
    assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
    assert answer.text == "a fox in the snow\nein Füchschen\n"


def problem(api: FlaskClient, path: str) -> tuple[int, str, str]:
    answer = api.get(path)
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    return answer.status_code, answer.json["code"], answer.json["detail"]


def test_what_the_provider_still_makes_is_not_there_yet(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.submitted(ledger)
    status, code, detail = problem(api, f"/v1/assets/{generation_id}/0")
    assert (status, code) == (409, "not_yet")
    assert detail.startswith(f"{generation_id} is submitted and has no assets yet; no worker is running")
    assert api.get(f"/v1/assets/{generation_id}/0").headers["Retry-After"] == "5"


def test_what_is_not_stored_yet_says_so(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.succeeded(ledger)
    status, code, detail = problem(api, f"/v1/assets/{generation_id}/0")
    assert (status, code) == (409, "not_yet")
    assert "is not stored yet; it is tried as soon as a worker is free" in detail


def test_what_keeps_failing_says_why_and_when_it_is_tried_again(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.succeeded(ledger)
    (claim,) = ledger.assets.claim(1, stories.MINUTE)
    later = Postponed(index=0, error=f"{stories.LINK} answers with status 503")
    ledger.assets.record([Archived(claim, (later,), described=False)])
    _, _, detail = problem(api, f"/v1/assets/{generation_id}/0")
    assert "answers with status 503; it is tried again at 20" in detail
    assert stories.SIGNATURE not in detail


def test_what_was_given_up_is_not_found_with_its_reason(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.expired(ledger)
    status, code, detail = problem(api, f"/v1/assets/{generation_id}/0")
    assert (status, code) == (404, "not_found")
    assert "answers with status 404; retrying its generation asks the provider for it again" in detail
    assert stories.SIGNATURE not in detail


def test_what_failed_has_none(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.failed(ledger)
    status, _, detail = problem(api, f"/v1/assets/{generation_id}/0")
    assert status == 404
    assert f"{generation_id} is failed and has no assets: the picture" in detail
    assert stories.SIGNATURE not in detail


def test_what_was_deleted_is_gone(ledger: Ledger, api: FlaskClient) -> None:
    generation_id = stories.archived(ledger)
    ledger.generations.delete([generation_id], Person("somebody"))
    assert problem(api, f"/v1/assets/{generation_id}/0") == (410, "gone", f"{generation_id} was deleted")


@pytest.mark.parametrize("index", ["1", "-1", "x", "1.0", "٣", "9" * 30])
def test_a_number_that_it_does_not_have_is_not_found(ledger: Ledger, api: FlaskClient, index: str) -> None:
    assert problem(api, f"/v1/assets/{stories.archived(ledger)}/{index}")[:2] == (404, "not_found")


def test_an_unknown_generation_is_not_found(api: FlaskClient) -> None:
    status, code, detail = problem(api, "/v1/assets/gen_of_nobody/0")
    assert (status, code) == (404, "not_found")
    assert "there is no generation 'gen_of_nobody'" in detail
