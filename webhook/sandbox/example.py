"""An example submission for each vendor, printed when the sandbox starts."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`fields` make a submission; `callback_field` is the name of the field for the callback URL."""

    path: str
    fields: Mapping[str, Any]
    callback_field: str
    #: with {} in place of the key
    key_header: str = "Authorization: Bearer {}"
    #: form-encoded instead of JSON
    is_form: bool = False

    def curl(self, url: str, key: str, callback_url: str) -> str:
        """Return one line for a shell."""
        fields = {**self.fields, self.callback_field: callback_url}
        body = urlencode(fields) if self.is_form else json.dumps(fields)
        headers = [self.key_header.format(key)] + ([] if self.is_form else ["Content-Type: application/json"])
        words = ["curl", url + self.path, *(word for header in headers for word in ("-H", header)), "-d", body]
        return shlex.join(words)
