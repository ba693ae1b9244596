"""`make audit` says what pip-audit found, and never takes an audit of nothing for one without findings."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.patience import patient
from tests.test_layering import ROOT

LOCK = """\
amqp==5.4.2 \\
    --hash=sha256:00
    # via kombu
deprecated==1.3.1 ; python_full_version < '3.12' \\
    --hash=sha256:01
deprecated==3.0.1 ; python_full_version >= '3.12' \\
    --hash=sha256:02
kombu[redis]==5.7.0 \\
    --hash=sha256:03
"""
PINS = {("amqp", "5.4.2"), ("deprecated", "1.3.1"), ("deprecated", "3.0.1"), ("kombu", "5.7.0")}
#: a pip-audit that knows what `answers` has, and refuses two versions of a package as the real one does
PROGRAM = """\
#!{python}
import json, sys
pins = [line.strip().split("==") for line in open(sys.argv[-1])]
if len(dict(pins)) < len(pins):
    sys.exit("package has duplicate requirements")
known = json.loads({answers!r})
answers = [known[f"{{name}} {{version}}"] for name, version in pins if f"{{name}} {{version}}" in known]
print(json.dumps({{"dependencies": answers, "fixes": []}}))
sys.exit(any(one.get("vulns") for one in answers))
"""


def clean(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "vulns": []}


def pip_audit(folder: Path, answers: Sequence[dict[str, Any]]) -> Path:
    known = {f"{one['name']} {one['version']}": one for one in answers}
    return program(folder, PROGRAM.format(python=sys.executable, answers=json.dumps(known)))


def program(folder: Path, text: str) -> Path:
    path = folder / "pip-audit"
    path.write_text(text)
    path.chmod(0o755)
    return path


def audit(folder: Path, tool: Path, lock: str = LOCK) -> "subprocess.CompletedProcess[str]":
    file = folder / "requirements.lock"
    file.write_text(lock)
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), str(tool), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(60))


def test_every_requirement_is_audited_whatever_its_platform(tmp_path: Path):
    done = audit(tmp_path, pip_audit(tmp_path, [clean(*pin) for pin in PINS]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "requirements.lock: 4 requirements audited\nno known vulnerabilities\n"


def test_a_vulnerability_is_named_with_the_version_that_fixes_it(tmp_path: Path):
    found = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["5.4.3"]}
    bad = {**clean("amqp", "5.4.2"), "vulns": [found]}
    done = audit(tmp_path, pip_audit(tmp_path, [clean(*pin) for pin in PINS if pin[0] != "amqp"] + [bad]))
    assert done.returncode == 1
    assert "requirements.lock: amqp 5.4.2: PYSEC-2026-1, CVE-2026-1; fixed in 5.4.3\n" in done.stderr
    assert "no known vulnerabilities" not in done.stdout


def test_a_requirement_of_which_nothing_is_known_is_no_clean_one(tmp_path: Path):
    """The real one then says that there are no known vulnerabilities, and ends with 0."""
    skipped = {"name": "kombu", "version": "5.7.0", "skip_reason": "not found"}
    tool = pip_audit(tmp_path, [clean(*pin) for pin in PINS if pin[0] != "kombu"] + [skipped])
    done = audit(tmp_path, tool)
    assert done.returncode == 2
    assert done.stderr == (
        "requirements.lock was not audited: nothing is known of 1 of its 4 requirements: kombu 5.7.0 "
        "(it said: not found)\n"
    )
    assert "no known vulnerabilities" not in done.stdout


def test_a_requirement_that_is_left_out_is_no_clean_one(tmp_path: Path):
    done = audit(tmp_path, pip_audit(tmp_path, []))
    assert done.returncode == 2
    assert "nothing is known of 4 of its 4 requirements" in done.stderr


def test_without_a_network_it_says_that_nothing_was_audited(tmp_path: Path):
    done = audit(tmp_path, program(tmp_path, "#!/bin/sh\necho 'Trying' >&2\necho 'no route to host' >&2\nexit 1\n"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "requirements.lock was not audited: pip-audit gave no result; it needs a network and the package index "
        "(it said: no route to host)\n"
    )


@pytest.mark.parametrize("lock", ["", "# nothing\n"])
def test_an_empty_lock_is_not_audited(lock: str, tmp_path: Path):
    done = audit(tmp_path, pip_audit(tmp_path, []), lock)
    assert (done.returncode, done.stderr) == (2, "requirements.lock was not audited: it names no requirement\n")


def test_a_tool_that_is_not_there_is_no_traceback(tmp_path: Path):
    done = audit(tmp_path, tmp_path / "missing")
    assert done.returncode == 2
    assert done.stderr.endswith("missing cannot be started: No such file or directory\n")
