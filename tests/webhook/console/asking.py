"""What a browser on the same machine sends."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

HERE = "http://127.0.0.1:80"
HTML = {"Accept": "text/html"}
FRAGMENT = {**HTML, "HX-Request": "true"}
#: the key of one form, as the page gives it
KEY = "a-key-of-a-form-1234567890"


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    return client.get(path, base_url=HERE, headers={**HTML, **headers})


def post(
    client: FlaskClient,
    path: str,
    *,
    once: str | None = KEY,
    fragment: bool = False,
    more: Mapping[str, Any] | None = None,
    **fields: Any,
) -> TestResponse:
    """Send a form; `more`: fields whose names have dots. `fragment`: as the page's script does."""
    data = {**(more or {}), **fields, **({} if once is None else {"once": once})}
    return client.post(path, base_url=HERE, headers=FRAGMENT if fragment else HTML, data=data)


def words(answer: TestResponse) -> str:
    """What somebody reads on the page."""
    text = re.sub(r"<(script|style|head).*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def mistake_at(answer: TestResponse, name: str) -> str:
    """What stands below a field."""
    found = re.search(rf'id="m-{name}"[^>]*>(.*?)</div>', answer.text, flags=re.DOTALL)
    assert found is not None, f"there is no place for mistakes of {name}"
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1])).split())
