import os
import subprocess
import sys

import pytest

from tests.webhook.serving import KEYS
from webhook.app import create_app
from worker.errors import ConfigurationError
from worker.services import Services
from worker.settings.settings import Settings


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({}, "DARKROOM_SIGNING_KEYS is not set: without it no callback can be authenticated"),
        ({"DARKROOM_SIGNING_KEYS": "short"}, "DARKROOM_SIGNING_KEYS: expected `id:secret`"),
        ({"DARKROOM_SIGNING_KEYS": KEYS, "LOG_LEVEL": "loud"}, "LOG_LEVEL: 'LOUD' is not DEBUG"),
        ({"DARKROOM_SIGNING_KEYS": KEYS, "DATABASE_URL": "mysql://me:hunter22@db/x"}, "DATABASE_URL names 'mysql'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_no_traceback(env: dict[str, str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from webhook.app import create_app; create_app()"],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"the receiver cannot start: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "hunter22" not in done.stderr


def test_whoever_brings_services_gets_the_error_itself() -> None:
    with pytest.raises(ConfigurationError, match="DARKROOM_SIGNING_KEYS is not set"):
        create_app(Services(Settings()))
