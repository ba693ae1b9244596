"""A task of another application picks: its own worker and the Procfile's processes, on a real broker."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.asking import a_recipe, asked
from tests.broker import running_broker
from tests.computer import DARKROOM
from tests.patience import wait_for
from tests.procfile import running
from worker.ledger import Ledger

#: all that the other application has to do with us
SHOP = """
import os
from celery import Celery

app = Celery("shop", broker=os.environ["REDIS_URL"])

@app.task(name="shop.pick")
def pick(asked):
    if asked["generation"]["key"] == "broken":
        raise ValueError("no image is good enough")
    return [] if asked["generation"]["key"] == "picky" else asked["approval"]["images"][1::2]
"""


@pytest.mark.system
def test_what_it_returns_decides_and_an_exception_rejects(sqlite_url: str, migrated_file: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    env = {
        "PATH": f"{DARKROOM.parent}:/usr/bin:/bin",
        "DATABASE_URL": sqlite_url,
        "ACEDATACLOUD_API_TOKEN": "any",
        "ACEDATACLOUD_BASE_URL": "http://127.0.0.1:9",
        "WORKER_CONCURRENCY": "1",
        "PYTHONPATH": str(tmp_path),
    }
    with closing(Ledger(sqlite_url)) as ledger, running_broker(tmp_path) as url:
        env["REDIS_URL"] = url
        recipe = a_recipe(tmp_path, pick="task shop.pick@search")
        keys = ("good", "picky", "broken")
        approvals = {key: asked(ledger, recipe, key=key)[0].id for key in keys}
        theirs = f"cd {tmp_path} && exec {sys.executable} -m celery -A shop worker -P solo -Q search -l INFO"
        with running("shop", env, tmp_path, theirs), running("worker", env, tmp_path), running("clock", env, tmp_path):

            def states() -> dict[str, str]:
                return {key: str(ledger.approvals.get(one).state) for key, one in approvals.items()}

            decided = {"good": "decided", "picky": "rejected", "broken": "rejected"}
            assert wait_for(lambda: states() == decided, seconds=90), (
                states(),
                *((tmp_path / f"{name}.log").read_text()[-3000:] for name in ("shop", "worker")),
            )
        assert ledger.approvals.get(approvals["good"]).picked == [2, 4]
        whys = [ledger.approvals.get(approvals[key]).why for key in ("picky", "broken")]
        assert whys == ["it picked no image", "it failed: see its worker's log"]
