"""Generations over HTTP: created once, listed, retried, cancelled, continued."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    PROVIDER,
    all_stored,
    archived,
    failure,
    new,
    one,
    queued,
    state_of,
    submitted,
    succeeded,
    success,
)
from tests.patience import wait_for
from webhook.api.app import create_app
from webhook.api.models.generations import Created, CreatedGeneration, GenerationDocument, GenerationPage
from webhook.api.models.problem import Problem
from worker.errors import CommitUnknown, LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger
from worker.pricing import Prices
from worker.services import Services


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What differs between databases is tested in the ledger, and in `test_repeating`."""
    return sqlite_url


FOX = {"prompt": "a red fox"}
KEY = {"Idempotency-Key": "order-7"}
PRICES = """
currency: USD
prices:
  - {provider: acedata, price: 0.05}
caps:
  day: 0.12
  labels: {client: {acme: 0.04}}
"""


def post(client: FlaskClient, body: Any, path: str = "", headers: dict[str, str] | None = None) -> Any:
    return client.post(f"/v1/generations{path}", json=body, headers=headers or {})


def problem(response: Any, status: int, code: str) -> Any:
    """The problem with this status and code, as it is described."""
    assert (response.status_code, response.json["code"]) == (status, code), response.json
    assert response.mimetype == "application/problem+json"
    Problem.model_validate(response.json)
    return response.json


def pointers(response: Any, status: int = 422, code: str = "invalid") -> list[str]:
    return [one["pointer"] for one in problem(response, status, code)["errors"]]


def count(ledger: Ledger) -> int:
    return sum(ledger.generations.counts().values())


# --- creation ---


def test_one_generation_is_created_and_found(client: FlaskClient, ledger: Ledger, rung: list[str]):
    body = FOX | {"options": {"aspect_ratio": "16:9"}, "labels": {"client": "acme"}, "priority": 3, "key": "sku-1"}
    made = post(client, body | {"follow_up": ["upscale1", "upscale2"], "provider": ["kie", "acedata"]})
    assert made.status_code == 201
    Created.model_validate(made.json)
    assert made.headers["Location"] == f"/v1/generations/{made.json['id']}"
    assert (made.json["state"], made.json["key"], made.json["labels"]) == ("queued", "sku-1", {"client": "acme"})
    assert (made.json["provider"], made.json["providers"]) == ("kie", ["acedata"])
    assert made.json["follow_up"] == ["upscale1", "upscale2"]
    assert (made.json["held"], made.json["warnings"]) == (None, [])
    found = client.get(made.headers["Location"])
    GenerationDocument.model_validate(found.json)
    assert found.json == {name: value for name, value in made.json.items() if name != "warnings"}
    assert wait_for(lambda: rung == ["dispatch"], seconds=10)
    assert one(ledger, made.json["id"]).prompt == "a red fox"


def test_a_list_is_a_batch_and_keeps_its_order(client: FlaskClient):
    items = [{"prompt": f"fox {number}"} for number in range(5)]
    made = post(client, {"generations": items, "batch": "foxes"}, headers=KEY)
    Created.model_validate(made.json)
    assert [one["prompt"] for one in made.json["data"]] == [item["prompt"] for item in items]
    assert {one["batch"] for one in made.json["data"]} == {"foxes"}
    assert made.headers["Location"] == f"/v1/batches/{made.json['batch_id']}"
    without_name = post(client, {"generations": items}, headers={"Idempotency-Key": "other"})
    assert without_name.json["batch_id"]


def test_a_thousand_are_created_together_and_no_more(client: FlaskClient, ledger: Ledger):
    items = [{"prompt": f"fox {number}"} for number in range(1001)]
    assert pointers(post(client, {"generations": items}, headers=KEY)) == ["/generations"]
    assert count(ledger) == 0
    made = post(client, {"generations": items[:1000], "batch": "foxes"}, headers=KEY)
    assert (made.status_code, len(made.json["data"]), count(ledger)) == (201, 1000, 1000)


def test_a_request_without_any_key_is_told_how_to_send_one(client: FlaskClient, ledger: Ledger):
    for body in (FOX, {"generations": [FOX | {"key": "a"}, FOX]}):
        told = problem(post(client, body), 400, "idempotency_key_missing")["detail"]
        assert "-H 'Idempotency-Key: order-7'" in told
    assert count(ledger) == 0


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\tb"])
def test_an_unusable_key_is_refused(client: FlaskClient, ledger: Ledger, key: str):
    problem(post(client, FOX, headers={"Idempotency-Key": key}), 400, "idempotency_key_invalid")
    assert count(ledger) == 0


def test_the_same_request_with_the_same_key_is_answered_with_the_same_generation(client: FlaskClient, ledger: Ledger):
    first, second = (post(client, FOX, headers=KEY) for _ in range(2))
    assert (first.status_code, first.headers.get("Idempotent-Replayed")) == (201, None)
    assert (second.status_code, second.headers["Idempotent-Replayed"]) == (200, "true")
    assert (first.json["id"], first.headers["Location"]) == (second.json["id"], second.headers["Location"])
    Created.model_validate(second.json)
    assert count(ledger) == 1


def test_a_replay_is_answered_whatever_has_become_impossible_since(
    client: FlaskClient, ledger: Ledger, rung: list[str], services_for: Callable[..., Services]
):
    (first,) = post(client, {"generations": [FOX]}, headers=KEY).json["data"]
    ledger.generations.cancel([first["id"]])
    without_provider = create_app(services_for(acedatacloud_api_token=None)).test_client()
    again = post(without_provider, {"generations": [FOX]}, headers=KEY)
    assert again.status_code == 200
    assert [one["state"] for one in again.json["data"]] == ["cancelled"]


def test_a_request_that_is_repeated_after_its_key_was_pruned_creates_nothing(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
):
    body = {"generations": [FOX, FOX | {"key": "mine"}]}
    first = post(client, body, headers=KEY)
    clock.advance(days=8)
    assert ledger.maintenance.prune_idempotency_keys(clock()).gone == {"idempotency_keys": 1}
    again = post(client, body, headers=KEY)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert [one["id"] for one in again.json["data"]] == [one["id"] for one in first.json["data"]]
    assert count(ledger) == 2


def test_another_request_with_the_same_key_is_refused(client: FlaskClient, ledger: Ledger):
    post(client, FOX, headers=KEY)
    problem(post(client, {"prompt": "an owl"}, headers=KEY), 422, "key_reused")
    made = post(client, {"generations": [FOX]}, headers=KEY)
    problem(made, 422, "key_reused")
    assert count(ledger) == 1


def test_a_key_of_its_own_makes_a_generation_the_same_without_an_idempotency_key(client: FlaskClient, ledger: Ledger):
    items = [FOX | {"key": "a"}, FOX | {"custom_id": "b"}]
    first, second = (post(client, {"generations": items}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert [one["id"] for one in first.json["data"]] == [one["id"] for one in second.json["data"]]
    more = post(client, {"generations": [*items, {"prompt": "an owl", "key": "c"}]})
    assert (more.status_code, "Idempotent-Replayed" in more.headers) == (201, False)
    assert count(ledger) == 3
    other = post(client, {"generations": [FOX | {"key": "new"}, {"prompt": "a crow", "custom_id": "b"}]})
    assert pointers(other, code="key_reused") == ["/generations/1/custom_id"]
    assert count(ledger) == 3


def test_an_idempotency_key_also_covers_a_request_whose_items_have_keys(client: FlaskClient, ledger: Ledger):
    body = {"generations": [FOX | {"key": "a"}]}
    assert [post(client, body, headers=KEY).status_code for _ in range(2)] == [201, 200]
    problem(post(client, {"generations": [FOX | {"key": "b"}]}, headers=KEY), 422, "key_reused")
    assert count(ledger) == 1


def test_every_mistake_has_its_place_and_nothing_is_written(client: FlaskClient, ledger: Ledger):
    items = [
        FOX | {"key": "a", "options": {"version": "7", "seed": "many", "no/such~option": 1}},
        {"prompt": "{red, blue} fox", "key": "b"},
        FOX | {"custom_id": "a"},
        FOX | {"key": "c", "provider": "nobody"},
        FOX | {"key": "d", "labels": {"Client": "acme"}},
        FOX | {"key": "e", "follow_up": "fly"},
        FOX | {"key": " "},
        {"key": "f"},
        FOX | {"key": "g"},
    ]
    assert sorted(pointers(post(client, {"generations": items}))) == [
        "/generations/0/options/no~1such~0option",
        "/generations/0/options/seed",
        "/generations/1/prompt",
        "/generations/2/custom_id",
        "/generations/3/provider",
        "/generations/4/labels",
        "/generations/5/follow_up",
        "/generations/6/key",
        "/generations/7/prompt",
    ]
    assert pointers(post(client, FOX | {"options": {"seed": "many"}}, headers=KEY)) == ["/options/seed"]
    assert count(ledger) == 0


def test_a_recipe_that_is_not_there_has_its_place_and_no_folder_of_the_server_is_told(
    services_for: Callable[..., Services], ledger: Ledger, tmp_path: Path
):
    (tmp_path / "shop.yaml").write_text("name: shop\nsteps: [{id: cut, do: split}]\n")
    client = create_app(services_for(darkroom_recipes=tmp_path)).test_client()
    one = post(client, FOX | {"recipe": "shpo"}, headers=KEY)
    assert pointers(one) == ["/recipe"]
    items = [FOX | {"key": "a", "recipe": "shop"}, FOX | {"key": "b", "recipe": "shpo"}]
    several = post(client, {"generations": items})
    assert pointers(several) == ["/generations/1/recipe"]
    both = post(client, FOX | {"recipe": "shop", "follow_up": "upscale1"}, headers=KEY)
    assert pointers(both) == ["/recipe"]
    for answer in (one, several):
        (mistake,) = answer.json["errors"]
        assert mistake["detail"] == "there is no recipe 'shpo'; did you mean 'shop'?"
        assert str(tmp_path) not in answer.text
    assert count(ledger) == 0


def test_a_body_that_is_not_as_described_is_refused_with_its_places(client: FlaskClient, ledger: Ledger):
    wrong = {"generations": [FOX | {"prompt": 7}, FOX | {"colour": "red"}], "batch": "a\nb"}
    assert pointers(post(client, wrong, headers=KEY)) == ["/generations/0/prompt", "/generations/1/colour", "/batch"]
    assert pointers(post(client, FOX | {"operation": "upscale"}, headers=KEY)) == ["/operation"]
    assert pointers(post(client, {"operation": "blend"}, headers=KEY)) == ["/options"]
    assert pointers(post(client, FOX | {"generations": []}, headers=KEY)) == ["/generations", "/prompt"]
    differing = FOX | {"key": "a", "custom_id": "b"}
    assert pointers(post(client, {"generations": [FOX, differing]}, headers=KEY)) == ["/generations/1/custom_id"]
    problem(client.post("/v1/generations", data="{", content_type="application/json"), 400, "not_json")
    problem(client.post("/v1/generations", data={"prompt": "a"}), 415, "unsupported_media_type")
    assert count(ledger) == 0


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", '[1, {"a": 1e999}]'])
def test_a_number_that_json_does_not_have_is_refused(client: FlaskClient, ledger: Ledger, number: str):
    body = f'{{"prompt": "a red fox", "options": {{"version": {number}}}}}'
    answer = client.post("/v1/generations", data=body, content_type="application/json", headers=KEY)
    problem(answer, 400, "not_json")
    assert count(ledger) == 0


def test_a_provider_that_is_not_set_up_is_the_callers_mistake_only_where_it_is_named(
    services_for: Callable[..., Services], rung: list[str], ledger: Ledger
):
    client = create_app(services_for(acedatacloud_api_token=None, kie_api_key=None)).test_client()
    assert pointers(post(client, FOX | {"provider": "kie"}, headers=KEY)) == ["/provider"]
    problem(post(client, FOX, headers=KEY), 503, "configuration")


def test_images_are_links_or_uploads_and_never_files_of_the_server(client: FlaskClient, ledger: Ledger, tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n")
    unknown = f"input:{'b' * 64}.png"
    for image, words in ((str(secret), "is not a link"), (unknown, "there is no stored image"), (7, "is not a link")):
        answer = post(client, FOX | {"options": {"images": [image]}}, headers=KEY)
        assert pointers(answer) == ["/options/images"]
        assert words in answer.json["detail"]
    made = post(client, FOX | {"options": {"images": ["https://pictures.example/a.png"]}}, headers=KEY)
    assert made.status_code == 201


def test_a_commit_that_may_have_happened_says_that_the_same_key_is_safe(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
):
    def cut(*_: object) -> None:
        raise CommitUnknown("the connection was lost; the changes may have been saved")

    monkeypatch.setattr("worker.ledger.generations.create.Creation.create_once", cut)
    answer = post(client, FOX, headers=KEY)
    told = problem(answer, 503, "outcome_unknown")["detail"]
    assert "with the same Idempotency-Key" in told
    assert answer.headers["Retry-After"]


def test_an_answer_that_cannot_be_read_after_the_commit_says_that_the_same_key_is_safe(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    """Who took `ledger_unavailable` for "nothing happened" would send it with a new key, and pay twice."""
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    asked = (("", FOX), (f"/{claim.generation.id}/retry", None))
    with monkeypatch.context() as patch:

        def cut(*_: object, **__: object) -> None:
            raise LedgerUnavailable("the ledger is away")

        patch.setattr("webhook.api.generations.views.of_seen", cut)
        for path, body in asked:
            told = problem(post(client, body, path, KEY | {"Idempotency-Key": f"k{path}"}), 503, "outcome_unknown")
            assert "with the same Idempotency-Key" in told["detail"]
    assert count(ledger) == 2
    assert state_of(ledger, claim) is State.QUEUED
    for path, body in asked:
        again = post(client, body, path, KEY | {"Idempotency-Key": f"k{path}"})
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert count(ledger) == 2


def test_each_write_is_one_line_of_the_log(client: FlaskClient, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "webhook.api.generations")
    made = post(client, FOX, headers=KEY | {"X-Request-Id": "r-1"})
    post(client, None, f"/{made.json['id']}/cancel")
    created, cancelled = (record.getMessage() for record in caplog.records)
    assert created == f"created {made.json['id']} for local (request r-1)"
    assert cancelled.startswith(f"cancelled {made.json['id']} for local")


# --- money ---


@pytest.fixture
def priced(services_for: Callable[..., Services], rung: list[str], tmp_path: Path) -> FlaskClient:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES)
    return create_app(services_for(darkroom_prices=file)).test_client()


def test_over_a_cap_generations_are_accepted_and_say_what_holds_them(priced: FlaskClient, ledger: Ledger):
    made = post(priced, {"generations": [FOX] * 3, "batch": "foxes"}, headers=KEY)
    assert made.status_code == 201
    held = [one["held"] for one in made.json["data"]]
    assert held == [None, None, {"budget": "day", "until": "2026-11-22T00:00:00.000Z"}]
    labelled = post(priced, FOX | {"key": "l", "labels": {"client": "acme"}})
    assert labelled.json["held"] == {"budget": "label:client=acme", "until": None}


def test_what_dispatch_has_held_says_so_too(priced: FlaskClient, ledger: Ledger, services_for: Any, tmp_path: Path):
    prices: Prices = services_for(darkroom_prices=tmp_path / "prices.yaml").prices
    made = post(priced, {"generations": [FOX] * 3}, headers=KEY)
    ledger.dispatch.run(PROVIDER, PLENTY, prices)
    first, _, last = (priced.get(f"/v1/generations/{one['id']}").json for one in made.json["data"])
    assert first["held"] is None
    assert last["held"]["budget"] == "day"
    assert last["reason"] == "budget"
    assert last["waits_for"]["cause"] in {"budget", "workers"}


def test_only_its_own_max_cost_refuses_a_request(priced: FlaskClient, ledger: Ledger):
    answer = post(priced, FOX | {"max_cost": "0.04"}, headers=KEY)
    assert pointers(answer, 402, "max_cost_exceeded") == ["/max_cost"]
    assert "0.05 USD" in answer.json["detail"]
    items = [FOX | {"key": "a", "max_cost": 0.05}, FOX | {"key": "b", "max_cost": 0.049999}]
    assert pointers(post(priced, {"generations": items}), 402, "max_cost_exceeded") == ["/generations/1/max_cost"]
    together = {"generations": [FOX | {"key": "a"}, FOX | {"key": "b"}], "max_cost": "0.09"}
    assert pointers(post(priced, together), 402, "max_cost_exceeded") == ["/max_cost"]
    assert count(ledger) == 0
    assert post(priced, together | {"max_cost": "0.10"}).status_code == 201
    # Both exist, so the same request costs nothing more.
    assert post(priced, together | {"max_cost": "0"}).status_code == 200


@pytest.mark.parametrize("amount", [-1, "0.0000001", "NaN", "many", 1e12])
def test_a_max_cost_is_an_amount(priced: FlaskClient, amount: object):
    assert pointers(post(priced, FOX | {"max_cost": amount}, headers=KEY)) == ["/max_cost"]


def test_a_max_cost_needs_prices(client: FlaskClient, ledger: Ledger):
    answer = post(client, {"generations": [FOX | {"max_cost": 1}, FOX]}, headers=KEY)
    assert pointers(answer) == ["/generations/0/max_cost"]
    assert "DARKROOM_PRICES" in answer.json["detail"]
    assert pointers(post(client, {"generations": [FOX], "max_cost": 1}, headers=KEY)) == ["/max_cost"]
    assert count(ledger) == 0


# --- lists ---


def listed(client: FlaskClient, **query: object) -> tuple[list[str], str | None]:
    answer = client.get("/v1/generations", query_string=query)
    assert answer.status_code == 200, answer.json
    GenerationPage.model_validate(answer.json)
    return [one["prompt"] for one in answer.json["data"]], answer.json["next"]


def test_pages_neither_repeat_nor_leave_out_anything_while_others_are_created(client: FlaskClient, ledger: Ledger):
    queued(ledger, 5)
    first, cursor = listed(client, limit=2)
    ledger.generations.create([new("a newcomer")])
    second, cursor_2 = listed(client, limit=2, after=cursor)
    third, end = listed(client, limit=2, after=cursor_2)
    assert first + second + third == [f"fox {number}" for number in (4, 3, 2, 1, 0)]
    assert end is None


def test_a_list_is_narrowed_by_each_condition(client: FlaskClient, ledger: Ledger):
    labels = {"client": "acme", "team": "x:y"}
    ledger.generations.create([new("a red fox", key="B-1", labels=labels), new("an owl", key="B-2")], "shop")
    ledger.generations.create([new("a blue fox", key="F-1", provider="kie")])
    ledger.generations.cancel([one.id for one in ledger.generations.page(batch="shop") if one.key == "B-2"])
    for query, wanted in (
        ({"key": "B-*"}, ["an owl", "a red fox"]),
        ({"key": "B-1"}, ["a red fox"]),
        ({"key": "no such"}, []),
        ({"batch": "shop"}, ["an owl", "a red fox"]),
        ({"state": "cancelled"}, ["an owl"]),
        ({"provider": "kie"}, ["a blue fox"]),
        ({"search": "FOX"}, ["a blue fox", "a red fox"]),
        ({"label": ["client:acme", "team:x:y"]}, ["a red fox"]),
        ({"label": "client:other"}, []),
        ({"key": "B-*", "state": "queued", "search": "red"}, ["a red fox"]),
    ):
        assert listed(client, **query) == (wanted, None), query


def test_pages_of_a_search_go_on_where_they_stopped_however_much_was_looked_at(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tasks.usecases.listing.MOST_LOOKED_AT", 4)
    monkeypatch.setattr("tasks.usecases.listing._AT_ONCE", 2)
    ledger.generations.create([new("an owl"), *(new(f"fox {number}") for number in range(9))])
    found, pages, cursor = list[str](), 0, None
    while pages == 0 or cursor:
        some, cursor = listed(client, search="owl", limit=1, **({"after": cursor} if cursor else {}))
        found, pages = found + some, pages + 1
    assert (found, pages) == (["an owl"], 3)
    several, cursor = listed(client, search="fox", limit=3)
    assert several == ["fox 8", "fox 7", "fox 6"]
    assert listed(client, search="fox", limit=3, after=cursor)[0] == ["fox 5", "fox 4", "fox 3"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("state=lost", "state"),
        ("label=Client:acme", "label"),
        ("label=client", "label"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_parameter_is_named(client: FlaskClient, query: str, parameter: str):
    found = problem(client.get(f"/v1/generations?{query}"), 422, "invalid")["errors"]
    assert [one["parameter"] for one in found] == [parameter]


def test_unknown_batches_and_providers_are_refused(client: FlaskClient):
    problem(client.get("/v1/generations?batch=none"), 404, "not_found")
    problem(client.get("/v1/generations?provider=nobody"), 422, "invalid")


@pytest.mark.parametrize("make", [queued, submitted, succeeded])
def test_a_document_is_as_it_is_described_in_every_state(client: FlaskClient, ledger: Ledger, make: Any):
    make(ledger)
    (found,) = client.get("/v1/generations").json["data"]
    GenerationDocument.model_validate(found)


def test_an_archived_generation_has_its_assets_and_children(client: FlaskClient, ledger: Ledger):
    (parent,) = archived(ledger, labels={"client": "acme"})
    ledger.generations.create([new(action="upscale1", parent_id=parent)])
    found = client.get(f"/v1/generations/{parent}").json
    GenerationDocument.model_validate(found)
    assert [asset["object_key"] for asset in found["assets"]] == ["pictures/0.png"]
    assert [child["action"] for child in found["children"]] == ["upscale1"]
    assert [move["to"] for move in found["transitions"]][-1] == "archived"


def test_only_its_whole_id_names_a_generation(client: FlaskClient, ledger: Ledger):
    (made,) = queued(ledger, key="sku-1")
    for name in ("sku-1", made.id[:-1], "gen_0"):
        told = problem(client.get(f"/v1/generations/{name}"), 404, "not_found")["detail"]
        assert "`GET /v1/generations`" in told
        for path in ("cancel", "retry", "actions"):
            body = {"action": "upscale1"} if path == "actions" else None
            problem(post(client, body, f"/{name}/{path}", KEY), 404, "not_found")


# --- decisions ---


def failed(ledger: Ledger) -> str:
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    return claim.generation.id


def test_a_failed_generation_is_retried_once(client: FlaskClient, ledger: Ledger, rung: list[str]):
    generation_id = failed(ledger)
    problem(post(client, None, f"/{generation_id}/retry"), 400, "idempotency_key_missing")
    first = client.post(f"/v1/generations/{generation_id}/retry", headers=KEY)
    GenerationDocument.model_validate(first.json)
    assert (first.status_code, first.json["state"]) == (200, "queued")
    assert wait_for(lambda: set(rung) == {"dispatch", "archive"}, seconds=10)
    again = client.post(f"/v1/generations/{generation_id}/retry", headers=KEY)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    problem(post(client, {"may_pay_twice": True}, f"/{generation_id}/retry", KEY), 422, "key_reused")
    other = client.post(f"/v1/generations/{generation_id}/retry", headers={"Idempotency-Key": "2"})
    assert problem(other, 409, "not_possible")["detail"] == "queued: it is still under way"


def test_what_the_provider_may_still_deliver_is_retried_only_by_who_may_pay_twice(client: FlaskClient, ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim, reason="timeout", cause="poll")])
    path = f"/{claim.generation.id}/retry"
    told = problem(post(client, {}, path, KEY), 409, "not_possible")["detail"]
    assert "repeat this with may_pay_twice" in told
    assert "--" not in told
    assert post(client, {"may_pay_twice": True}, path, KEY).json["state"] == "queued"


def test_what_is_queued_is_cancelled_and_what_is_paid_for_is_not(client: FlaskClient, ledger: Ledger):
    (waiting,) = queued(ledger)
    for _ in range(2):
        answer = post(client, None, f"/{waiting.id}/cancel")
        assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    (claim,) = submitted(ledger)
    told = problem(post(client, None, f"/{claim.generation.id}/cancel"), 409, "not_possible")["detail"]
    assert told == "submitted: already paid for"
    assert state_of(ledger, claim) is State.SUBMITTED


def test_a_follow_up_is_created_once(client: FlaskClient, ledger: Ledger):
    (parent,) = archived(ledger, labels={"client": "acme"})
    body = {"action": "upscale1", "labels": {"round": "2"}}
    problem(post(client, body, f"/{parent}/actions"), 400, "idempotency_key_missing")
    first, second = (post(client, body, f"/{parent}/actions", KEY) for _ in range(2))
    CreatedGeneration.model_validate(first.json)
    assert (first.status_code, second.status_code) == (201, 200)
    assert (first.json["parent"], first.json["action"]) == (parent, "upscale1")
    assert first.json["labels"] == {"client": "acme", "round": "2"}
    assert first.json["id"] == second.json["id"]
    keyed = [post(client, {"action": "upscale1", "key": "mine"}, f"/{parent}/actions") for _ in range(2)]
    assert [one.status_code for one in keyed] == [201, 200]
    assert count(ledger) == 3


def test_the_key_of_a_follow_up_belongs_to_its_parent(client: FlaskClient, ledger: Ledger):
    """Same action, same prompt: the other parent's follow-up passed for this one's."""
    first, second = (archived(ledger)[0] for _ in range(2))
    body = {"action": "upscale1", "key": "mine"}
    assert post(client, body, f"/{first}/actions").status_code == 201
    assert pointers(post(client, body, f"/{second}/actions"), code="key_reused") == ["/key"]


def test_a_split_succeeds_at_once_and_wakes_archive(client: FlaskClient, ledger: Ledger, rung: list[str]):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([success(claim, actions=("upscale1", "upscale2", "upscale3", "upscale4"))])
    ledger.assets.record([all_stored(one) for one in ledger.assets.claim(1, LEASE)])
    made = post(client, {"action": "split"}, f"/{claim.generation.id}/actions", KEY)
    CreatedGeneration.model_validate(made.json)
    assert (made.status_code, made.json["state"], len(made.json["assets"])) == (201, "succeeded", 4)
    assert wait_for(lambda: set(rung) == {"dispatch", "archive"}, seconds=10)


def test_suspicious_prompts_are_created_with_warnings(client: FlaskClient):
    made = post(client, {"generations": [{"prompt": "a fox \\{1\\} --colour red"}, FOX]}, headers=KEY)
    first, second = made.json["data"]
    assert (first["prompt"], second["warnings"]) == ("a fox {1} --colour red", [])
    assert [one for one in first["warnings"] if one.startswith("/generations/0")]


def test_an_impossible_follow_up_says_why_and_where(client: FlaskClient, ledger: Ledger):
    (parent,) = archived(ledger)
    (waiting,) = queued(ledger, key="mine")
    told = problem(post(client, {"action": "upscale1"}, f"/{waiting.id}/actions", KEY), 409, "not_possible")
    assert "a follow-up needs an archived parent" in told["detail"]
    assert pointers(post(client, {"action": "fly"}, f"/{parent}/actions", KEY)) == ["/action"]
    wrong = {"action": "upscale1", "options": {"nonsense": 1}}
    assert pointers(post(client, wrong, f"/{parent}/actions", KEY)) == ["/options/nonsense"]
    taken = post(client, {"action": "upscale1", "key": "mine"}, f"/{parent}/actions")
    assert pointers(taken, code="key_reused") == ["/key"]
    assert count(ledger) == 2
