"""The code of an earlier commit, from the history of this repository."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
#: Debian 12 has Python 3.11.2, which does not know it, and later ones warn without it
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def git(*arguments: str) -> bytes:
    """Skips the test, with a reason in pytest's summary, where there is no history."""
    try:
        done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("NOT TESTED: the previous version, because there is no git")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        pytest.skip(f"NOT TESTED: the previous version, because git has no history of it here ({said})")
    return done.stdout


def files_of(commit: str, folder: Path) -> Path:
    """Unpack its files into this folder."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit))) as files:
        files.extractall(folder, **_FILTER)
    return folder
