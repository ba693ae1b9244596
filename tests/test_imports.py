"""An import reads no setting: wrong ones become a sentence where they are used, and no import has to wait for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.settings.settings import Settings

#: imports all modules of ours, and prints which variables were read meanwhile and which of the files were opened
_PROGRAM = """
import importlib, json, os, pkgutil, sys
# Python's own copies the whole environment when it is imported.
import wsgiref.handlers
import tasks, webhook, worker

folder, read, opened = sys.argv[1], [], []

class Told(type(os.environ)):
    def __getitem__(self, name):
        read.append(name)
        return super().__getitem__(name)

    def __iter__(self):
        read.append("all of them")
        return super().__iter__()

os.environ.__class__ = Told
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
modules = [
    one.name
    for package in (tasks, webhook, worker)
    for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # A script of alembic's, which runs when it is imported.
    if one.name != "worker.ledger.migrations.env"
]
for name in modules:
    importlib.import_module(name)
print(json.dumps({"modules": len(modules), "read": read, "files": [one for one in opened if one.startswith(folder)]}))
"""


@pytest.mark.processes
def test_importing_any_module_reads_no_setting_and_no_file_of_one(tmp_path: Path):
    names = [name.upper() for name in Settings.model_fields] + ["HOST", "HTTPS_PROXY", "AWS_ACCESS_KEY_ID"]
    files = {f"{name}_FILE": str(tmp_path / name) for name in names}
    for file in files.values():
        Path(file).write_text("garbage")
    for file in ("ledger.sqlite3", "running.json", "demo.json"):
        (tmp_path / file).write_text("garbage")
    poisoned = dict.fromkeys(names, "garbage") | files | {"DARKROOM_DATA": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path)]
    done = subprocess.run(command, env=poisoned, cwd=tmp_path, check=True, stdout=subprocess.PIPE)
    told = json.loads(done.stdout)
    assert told["modules"] > 200
    assert {*told["read"]} & {*poisoned, "all of them"} - {"PATH"} == set()
    assert told["files"] == []


_FIRST_USE = """
import os
from worker.celery import app
from worker.errors import ConfigurationError

os.environ["REDIS_URL"] = "garbage"
try:
    app.conf.broker_url
except ConfigurationError as error:
    print(error)
os.environ["REDIS_URL"] = "redis://127.0.0.1:7/3"
print(app.conf.broker_url, app.conf.task_default_queue)
os.environ["REDIS_URL"] = "garbage"
print(app.conf.broker_url)
"""


@pytest.mark.processes
def test_celery_reads_its_broker_on_first_use_and_takes_no_other_for_a_wrong_one():
    told = subprocess.run([sys.executable, "-c", _FIRST_USE], check=True, capture_output=True, text=True).stdout
    wrong, *right = told.splitlines()
    assert wrong.startswith("REDIS_URL: this is not a broker URL")
    assert right == ["redis://127.0.0.1:7/3 quick", "redis://127.0.0.1:7/3"]
