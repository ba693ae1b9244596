"""`make api-docs`: `webhook/api/openapi.json`, and the tables of `deploy/API.md` and `METRICS.md`, from the code."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.usecases.metrics import FAMILIES, PARTS, Family
from tests.figures import tables
from tests.figures.tables import ROOT, table
from webhook.api.app import OPERATIONS
from webhook.api.codes import CODES
from webhook.api.openapi import document_of

OPENAPI, PAGE = ROOT / "webhook" / "api" / "openapi.json", ROOT / "deploy" / "API.md"
METRICS = ROOT / "deploy" / "METRICS.md"


def filled(document: Mapping[str, Any]) -> Mapping[Path, str]:
    """Each file with what it should say."""
    codes = [(f"`{code}`", str(status), meaning) for code, (status, meaning) in CODES.items()]
    contents = {
        "paths": table(("", "scope", "does"), list(_paths(document))),
        "parameters": table(("", "parameter", "is"), list(_parameters(document))),
        "codes": table(("code", "status", "meaning"), codes),
    }
    return {
        OPENAPI: json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        PAGE: tables.filled(PAGE.read_text(encoding="utf-8"), contents, "make api-docs"),
        METRICS: tables.filled(METRICS.read_text(encoding="utf-8"), {"families": _families()}, "make api-docs"),
    }


def _families() -> str:
    parts = {family: part.name for part in PARTS for family in part.families}
    return table(("name", "type", "labels", "meaning", "source", "part"), [_row(one, parts) for one in FAMILIES])


def _row(family: Family, parts: Mapping[Family, str]) -> Sequence[str]:
    labels = ", ".join(f"`{name}`" for name in family.labels)
    return f"`{family.name}`", family.kind, labels, family.meaning, family.source, parts.get(family, "")


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"`{method.upper()} {path}`", operation


def _paths(document: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, operation in _operations(document):
        scope = f"`{operation['x-scope']}`" if "x-scope" in operation else ""
        yield name, scope, operation["summary"]


def _parameters(document: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, operation in _operations(document):
        asked = [one for one in operation["parameters"] if one["in"] == "query"]
        for number, one in enumerate(asked):
            yield "" if number else name, f"`{one['name']}`", _what(one)


def _what(parameter: Mapping[str, Any]) -> str:
    default = parameter["schema"].get("default")
    told = "" if default in (None, False, "", []) else f" Default: `{default}`."
    needed = " Required." if parameter["required"] else ""
    return f"{parameter.get('description', '')}{told}{needed}".replace("|", "\\|")


def main() -> None:
    for path, text in filled(json.loads(json.dumps(document_of(OPERATIONS)))).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
