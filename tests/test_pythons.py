"""`make test-python` finds the Pythons that a machine has, wherever they lie."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient
from tests.test_layering import ROOT

OTHER = "3.12" if sys.version_info[:2] != (3, 12) else "3.13"
OWN = "{}.{}".format(*sys.version_info)


def found(tmp_path: Path, *arguments: str, path: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / ".ci" / "pythons.py"), *arguments]
    env = {"PATH": path, "HOME": str(tmp_path)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=patient(60))


def python(folder: Path, version: str, answer: str) -> Path:
    """A program of the name `python<version>` that answers so."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"python{version}"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    return program


def test_each_other_version_is_found_once_on_the_path_or_as_pyenvs(tmp_path: Path):
    shims, pyenv = tmp_path / "shims", tmp_path / ".pyenv" / "versions"
    python(shims, "3.14", "exit 127")
    python(shims, OWN, f"echo {OWN}")
    first = python(tmp_path / "bin", OTHER, f"echo {OTHER}")
    python(pyenv / f"{OTHER}.1" / "bin", OTHER, f"echo {OTHER}")
    python(pyenv / "3.14.9" / "bin", "3.14", "echo 3.14")
    newest = python(pyenv / "3.14.10" / "bin", "3.14", "echo 3.14")
    python(pyenv / "3.10.13" / "bin", "3.10", "exit 1")
    done = found(tmp_path, path=f"{shims}:{tmp_path / 'bin'}")
    assert done.stdout.splitlines() == [f"{OTHER}={first}", f"3.14={newest}"]
    assert done.stderr == f"other Pythons: {OTHER} ({first}), 3.14 ({newest})\n"


def test_a_machine_with_no_other_says_so(tmp_path: Path):
    done = found(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "other Pythons: none from 3.11 on was found\n"


def test_those_that_are_named_are_taken_and_the_machine_is_not_searched(tmp_path: Path):
    python(tmp_path / "bin", OTHER, f"echo {OTHER}")
    done = found(tmp_path, sys.executable, path=str(tmp_path / "bin"))
    assert done.stdout == f"{OWN}={sys.executable}\n"


@pytest.mark.parametrize("answer", ["exit 127", None])
def test_one_that_is_named_must_be_fit_for_it(tmp_path: Path, answer: str | None):
    name = tmp_path / "python3.10" if answer is None else python(tmp_path, "3.10", answer)
    done = found(tmp_path, str(name))
    assert done.returncode == 1
    assert done.stderr == f"{name} is no Python from 3.11 on that can make a virtual environment\n"
