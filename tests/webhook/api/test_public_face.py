"""The public receiver has none of the API, and does not even load it."""

import subprocess
import sys

import pytest
from flask import Flask

from webhook import app as receiver
from webhook.api import app as api
from worker.services import Services
from worker.settings.settings import Settings


def paths(app: Flask) -> set[str]:
    return {rule.rule for rule in app.url_map.iter_rules()}


def services() -> Services:
    return Services(Settings(database_url="sqlite:////nowhere/ledger.sqlite3", darkroom_signing_keys="k1:" + "x" * 40))


def loaded_by(module: str) -> set[str]:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_receiver_has_no_path_of_the_api() -> None:
    assert paths(receiver.create_app(services())) == {"/livez", "/readyz"}
    assert paths(api.create_app(services())) >= {"/livez", "/readyz", "/v1/openapi.json"}


@pytest.mark.processes
def test_the_receiver_does_not_load_the_api() -> None:
    assert not {one for one in loaded_by("webhook.app") if one.startswith("webhook.api")}


@pytest.mark.processes
def test_the_api_loads_neither_the_receiver_nor_what_only_workers_and_commands_need() -> None:
    loaded = loaded_by("webhook.api.app")
    assert "webhook.app" not in loaded
    needless = {
        "boto3",
        "botocore",
        "requests",
        "rich",
        "PIL",
        "alembic",
        "psycopg",
        "xlsxwriter",
        "python_calamine",
        "celery",
    }
    assert needless & {one.partition(".")[0] for one in loaded} == set()


@pytest.mark.processes
@pytest.mark.parametrize(("path", "loads"), [("/v1/generations", False), ("/livez", False), ("/login", True)])
def test_the_console_is_loaded_when_its_first_page_is_opened(path: str, loads: bool) -> None:
    opening = (
        "from tests.webhook.api.test_public_face import api, services; "
        f"api.create_app(services()).test_client().get('{path}')"
    )
    assert ("webhook.console" in loaded_by(f"webhook.api.app; {opening}")) == loads


@pytest.mark.processes
@pytest.mark.parametrize("module", ["webhook.app", "webhook.api.app"])
def test_neither_loads_celery_for_its_wake_ups(module: str) -> None:
    loaded = loaded_by(f"{module}; from worker.wakeup import drop_stale; drop_stale()")
    assert "redis" in loaded
    assert not loaded & {"celery", "kombu", "billiard"}
