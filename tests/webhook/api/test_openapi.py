"""The document at /v1/openapi.json: valid, whole, and of use to somebody who has nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import webhook.api
from tests.figures.api_docs import OPENAPI, filled
from webhook.api.app import OPERATIONS, create_app
from webhook.api.codes import CODES, OF_HTTP
from webhook.api.openapi import document_of
from webhook.api.problems import STATUS
from worker.services import Services
from worker.settings.settings import Settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(OPERATIONS)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, one in operations(document):
        bodies = [one["requestBody"]] if "requestBody" in one else []
        for part in (*bodies, *one["responses"].values()):
            for media, content in part.get("content", {}).items():
                if media == "application/json" and "$ref" in content["schema"]:
                    yield where, content


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_it_is_served_as_it_is_made(document: dict[str, Any]) -> None:
    client = create_app(Services(Settings(database_url="sqlite:////nowhere/ledger.sqlite3"))).test_client()
    answer = client.get("/v1/openapi.json")
    assert answer.content_type == "application/json"
    assert answer.json == json.loads(json.dumps(document))


def test_it_describes_every_path_that_is_served(document: dict[str, Any]) -> None:
    app = create_app(Services(Settings(database_url="sqlite:////nowhere/ledger.sqlite3")))
    served = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in app.url_map.iter_rules()}
    # The others are for people, or for whoever watches over processes.
    served = {path for path in served if path.startswith("/v1/") or path == "/metrics"}
    assert served - {"/v1/openapi.json"} == set(document["paths"])


def test_every_operation_has_a_summary_and_names_of_its_own(document: dict[str, Any]) -> None:
    found = dict(operations(document))
    assert [where for where, one in found.items() if not one["summary"].endswith(".")] == []
    names = [one["operationId"] for one in found.values()]
    assert len(names) == len(set(names))


def test_every_parameter_says_what_it_is(document: dict[str, Any]) -> None:
    assert [
        f"{where}: {parameter['name']}"
        for where, one in operations(document)
        for parameter in one["parameters"]
        if not parameter.get("description")
    ] == []


def test_every_field_of_a_request_says_what_it_is(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    asked = [
        content["schema"]
        for _, one in operations(document)
        if "requestBody" in one
        for content in one["requestBody"]["content"].values()
    ]
    missing = []
    while asked:
        schema = asked.pop()
        asked += [schemas[schema["$ref"].rpartition("/")[2]]] if "$ref" in schema else []
        asked += [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        fields = schema.get("properties", {})
        missing += [f"{name} in {sorted(fields)}" for name, one in fields.items() if not one.get("description")]
    assert missing == []


def test_every_body_in_json_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for where, content in contents(document):
        schema = {**content["schema"], "components": document["components"]}
        try:
            jsonschema.Draft202012Validator(schema).validate(content["example"])
        except jsonschema.ValidationError as error:
            pytest.fail(f"{where}: {error.message} at {list(error.path)}")


def test_no_title_is_only_the_name_once_more(document: dict[str, Any]) -> None:
    assert '"title": "' not in json.dumps(document["components"]["schemas"])


def test_every_code_of_a_problem_is_explained() -> None:
    source = "\n".join(path.read_text("utf-8") for path in Path(webhook.api.__file__).parent.rglob("*.py"))
    raised = set(re.findall(r'code="(\w+)"', source)) | {code for _, _, code in STATUS} | {"internal"}
    assert raised | OF_HTTP == set(CODES)


def test_the_committed_document_and_the_tables_of_its_page_are_up_to_date(document: dict[str, Any]) -> None:
    """`make api-docs` renews them."""
    for path, text in filled(document).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(Path.cwd())}: run `make api-docs`"
    assert OPENAPI in filled(document)
