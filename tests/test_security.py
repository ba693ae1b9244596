"""What `deploy/SECURITY.md` says about secrets is what the processes do."""

import re
from collections.abc import Callable, Mapping

import pytest

from tests.test_documents import ROOT, text_of
from worker.settings import api_environment, receiver_environment
from worker.settings.settings import secret_names

#: secrets, or addresses with one in them, that other settings and libraries have
OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "REDIS_URL", "HTTPS_PROXY", "HTTP_PROXY"}
SECRETS = sorted(secret_names() | OTHERS)
_ROW = re.compile(r"^\| `([A-Z_]+)` \| (\w+) \| (\w+) \| (\w+) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str, str]]:
    found = _ROW.findall(text_of(ROOT / "deploy" / "SECURITY.md"))
    return {name: (web, api, others) for name, web, api, others in found}


def test_the_table_has_every_secret():
    assert sorted(rows()) == SECRETS


@pytest.mark.parametrize(("column", "environment"), [(0, receiver_environment), (1, api_environment)])
def test_a_process_that_listens_holds_what_the_table_says(
    column: int, environment: Callable[[Mapping[str, str]], dict[str, str]]
):
    # Also as a signing key and as the key of an account.
    given = {name: f"secret-of-{name.lower()}-0123456789abcdef" for name in SECRETS}
    held = environment(given)
    words = {name: "no" if name not in held else "yes" if held[name] == given[name] else "name" for name in SECRETS}
    assert words == {name: row[column] for name, row in rows().items()}


def test_workers_and_commands_hold_everything():
    assert {row[2] for row in rows().values()} == {"yes"}
