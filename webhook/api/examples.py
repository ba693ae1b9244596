"""Makes the example of a schema from the examples of its fields."""

from collections.abc import Mapping
from typing import Any

_OF_FORMATS = {"date-time": "2026-11-29T12:00:00Z", "date": "2026-11-29", "uri": "https://example.com/cat.png"}
_OF_TYPES: Mapping[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "null": None, "string": "text"}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Return a value of this schema; `components`: the schemas that its references name."""
    return _example(schema, components, ())


def _example(schema: Mapping[str, Any], components: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    given = [*schema.get("examples", ()), *(schema[word] for word in ("const", "default") if word in schema)]
    given += schema.get("enum", ())
    if given:
        return given[0]
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        # A recursive schema ends here: its recursive fields are optional.
        return None if name in within else _example(components[name], components, (*within, name))
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _example(choices[0], components, within)
    if schema.get("type") == "array":
        inner = _example(schema["items"], components, within) if "items" in schema else None
        return [] if inner is None else [inner]
    if schema.get("type") == "object":
        return {
            name: _example(one, components, within)
            for name, one in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or "examples" in one
        }
    return _OF_FORMATS.get(str(schema.get("format"))) or _OF_TYPES.get(str(schema.get("type")))
