"""GET /v1/providers: what `darkroom providers` shows."""

import json

from flask.testing import FlaskClient

from tasks.usecases import views
from tasks.usecases.providers import describe_providers
from tests.tasks.cli import stories
from webhook.api.models.providers import ProviderDocument, ProviderList
from worker.errors import AccountBlocked
from worker.ledger import Ledger
from worker.providers import PROVIDERS
from worker.services import Services


def test_all_providers_are_listed_as_they_are_described(api: FlaskClient) -> None:
    answer = api.get("/v1/providers")
    assert answer.status_code == 200
    found = ProviderList.model_validate(answer.json)
    assert [one.name for one in found.data] == list(PROVIDERS)
    assert {one.name: one.configured for one in found.data}["acedata"]


def test_one_provider_is_the_document_of_the_command_line(here: Services, api: FlaskClient) -> None:
    answer = api.get("/v1/providers/kie")
    ProviderDocument.model_validate(answer.json)
    (described,) = describe_providers(here, "kie")
    assert answer.json == json.loads(json.dumps(views.of_provider(described)))


def test_a_paused_account_is_shown_with_its_reason(ledger: Ledger, api: FlaskClient) -> None:
    stories.answered(ledger, AccountBlocked(f"refused, see {stories.LINK}", code="used_up", status=403))
    found = ProviderDocument.model_validate(api.get("/v1/providers/acedata").json)
    assert found.accounts is not None
    (account,) = found.accounts
    assert (account.status, account.rate) == ("paused", 0)
    assert account.until is not None
    assert account.reason is not None
    assert account.reason.startswith("refused, see")
    assert stories.SIGNATURE not in account.reason


def test_an_unknown_provider_is_not_found(api: FlaskClient) -> None:
    answer = api.get("/v1/providers/nobody")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["detail"] == "there is no provider 'nobody': GET /v1/providers lists them"
