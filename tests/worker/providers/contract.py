"""What the contract tests share: every provider, built over its dialect."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.dialects.dialect import PAYLOADS
from worker.generation import Accepted, GenerationRequest, Outcome, Status
from worker.providers import Mark, Provider, load_provider

CALLBACK_URL = "https://studio.test/callbacks/vendor/0123abcd/k1.bm90LXJlYWxseS1hLW1hYy1idXQtYXMtbG9uZy1hcy1vbmU"
MARK = Mark("0123abcd", CALLBACK_URL)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

CALLBACK_FILES = [
    pytest.param(name, file, id=f"{name}-{file.stem}")
    for name, dialect in DIALECTS.items()
    for pattern in dialect.callbacks
    for file in sorted((PAYLOADS / name).glob(pattern))
]


def provider(name: str, url: str = "http://127.0.0.1:1") -> Provider:
    return load_provider(name, DIALECTS[name].settings(url))


def send(vendor: Provider, request: GenerationRequest, mark: Mark) -> Accepted | Outcome:
    """As the worker does it: translated, then posted."""
    return vendor.submit(vendor.translate(request), mark)


def promised(file: Path) -> Status:
    """The outcome that the name of a payload file promises."""
    progress = re.search(r"progress_(\d+)", file.name)
    if re.search("pending|generating|submitted|in_progress", file.name) or (progress and int(progress[1]) < 100):
        return Status.IN_PROGRESS
    return Status.FAILED if re.search("fail", file.name) else Status.SUCCEEDED
