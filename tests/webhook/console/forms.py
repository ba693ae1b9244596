"""A browser on this machine at the console, that sends the forms of its pages."""

import re
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.webhook.console.conftest import HERE, HTML, at_work_with


class Console:
    """It carries the token of the pages."""

    def __init__(self, app: Flask) -> None:
        self._client = at_work_with(app)

    def get(self, path: str) -> TestResponse:
        return self._client.get(path, headers=HTML, base_url=HERE)

    def post(self, path: str, data: Any = None) -> TestResponse:
        return self._client.post(path, data=data, headers=HTML, base_url=HERE)

    def send(self, page: str, path: str | None = None, **form: Any) -> TestResponse:
        """Send one of the forms of a page that was just opened; `path`: where it goes, by default to the page."""
        return self.post(path or page, {"once": once_of(self.get(page)), **form})

    def told(self, answer: TestResponse) -> str:
        """What the page says to which a form led."""
        assert answer.status_code == 303, text_of(answer)
        return text_of(self.get(answer.headers["Location"]))


def text_of(answer: TestResponse) -> str:
    return re.sub(r"\s+", " ", answer.get_data(as_text=True))


def once_of(page: TestResponse) -> str:
    """The key of a form on this page."""
    found = re.search(r'name="once" value="([^"]+)"', page.get_data(as_text=True))
    assert found is not None, "the page has no form"
    return found[1]
