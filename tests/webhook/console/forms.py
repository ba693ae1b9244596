"""Sends the forms of pages as a browser does."""

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse


def text_of(answer: TestResponse) -> str:
    return re.sub(r"\s+", " ", answer.get_data(as_text=True))


def once_of(page: TestResponse) -> str:
    """The key of a form on this page."""
    found = re.search(r'name="once" value="([^"]+)"', page.get_data(as_text=True))
    assert found is not None, "the page has no form"
    return found[1]


def send(client: FlaskClient, page: str, path: str | None = None, **form: Any) -> TestResponse:
    """Send one of the forms of a page that was just opened; `path`: where it goes, by default to the page itself."""
    return client.post(path or page, data={"once": once_of(client.get(page)), **form})


def told(client: FlaskClient, answer: TestResponse) -> str:
    """What the page says to which a form led."""
    assert answer.status_code == 303, text_of(answer)
    return text_of(client.get(answer.headers["Location"]))
