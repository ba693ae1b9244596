"""The HTTP API does what its OpenAPI document says: schemathesis asks for what it allows, and for what it does not."""

import subprocess
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest

from tests import s3
from tests.examples import examples
from tests.factories import archived, queued
from tests.patience import patient
from tests.webhook.api.serving import served
from worker.ledger import Ledger

pytestmark = [pytest.mark.system, pytest.mark.timeout(patient(900))]

SCHEMATHESIS = Path(sysconfig.get_path("scripts")) / "schemathesis"
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 100


@pytest.fixture
def seeded(database_url: str) -> str:
    """A ledger with generations in several states."""
    with closing(Ledger(database_url)) as ledger:
        archived(ledger, 2, batch="archive")
        queued(ledger, 3, batch="shop")
        queued(ledger, 2)
    return database_url


def test_schemathesis_finds_nothing(seeded: str, rclone: s3.Server, tmp_path: Path) -> None:
    settings = {**s3.bucket_of(rclone), "KIE_API_KEY": "any", "ACEDATACLOUD_API_TOKEN": "any"}
    with served(seeded, log=tmp_path / "log", **settings) as (url, _):
        done = subprocess.run(
            [
                *(SCHEMATHESIS, "--config-file", CONFIG, "run", f"{url}/v1/openapi.json"),
                *("--phases", "examples,coverage,fuzzing,stateful", "--checks", "all", "--mode", "all"),
                *("--max-examples", str(examples(EXAMPLES)), "--seed", "7", "--continue-on-failure"),
                *("--suppress-health-check", "all"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=patient(800),
            check=False,
        )
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:] + log[-5_000:]
    assert "Traceback" not in log, log[-5_000:]
