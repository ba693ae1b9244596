import re
import subprocess
import sys

import pytest

from tests.webhook.serving import KEYS
from webhook.app import create_app
from worker.errors import ConfigurationError
from worker.services import Services, services
from worker.settings.settings import Settings


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({}, "DARKROOM_SIGNING_KEYS is not set: it signs callback URLs"),
        ({"DARKROOM_SIGNING_KEYS": "short"}, "DARKROOM_SIGNING_KEYS: expected `id:secret`"),
        ({"DARKROOM_SIGNING_KEYS": KEYS, "LOG_LEVEL": "loud"}, "LOG_LEVEL: 'LOUD' is not DEBUG"),
        ({"DARKROOM_SIGNING_KEYS": KEYS, "DATABASE_URL": "mysql://me:hunter22@db/x"}, "DATABASE_URL names 'mysql'"),
    ],
)
def test_a_wrong_setting_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], sentence: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    services.cache_clear()
    with pytest.raises(SystemExit) as ended:
        create_app()
    services.cache_clear()
    told = str(ended.value.code)
    assert told.startswith(f"the receiver cannot start: {sentence}")
    assert "\n" not in told
    assert "hunter22" not in told


@pytest.mark.processes
def test_the_process_tells_it_without_a_traceback() -> None:
    command = [sys.executable, "-c", "from webhook.app import create_app; create_app()"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch("the receiver cannot start: DARKROOM_SIGNING_KEYS is not set.*\n", done.stderr)


def test_whoever_brings_services_gets_the_error_itself() -> None:
    with pytest.raises(ConfigurationError, match="DARKROOM_SIGNING_KEYS is not set"):
        create_app(Services(Settings()))
