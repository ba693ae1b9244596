"""`make sbom` lists everything that a release consists of."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.patience import patient
from tests.test_layering import ROOT

pytestmark = pytest.mark.system

_PIN = re.compile(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)((?:.*\\\n)*.*)", re.MULTILINE)


def test_it_names_each_dependency_of_the_lock_with_its_hashes(tmp_path: Path):
    pinned = _PIN.findall((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert len(pinned) > 50
    found = {
        (one["name"], one["version"]): {
            each["content"] for source in one["externalReferences"] for each in source["hashes"]
        }
        for one in sbom(tmp_path / "sbom.json")["components"]
    }
    assert found == {(name, version): set(re.findall(r"sha256:(\w+)", rest)) for name, version, rest in pinned}


def test_it_is_about_darkroom_and_the_same_each_time(tmp_path: Path):
    first = sbom(tmp_path / "first.json")
    assert (first["bomFormat"], first["metadata"]["component"]["name"]) == ("CycloneDX", "darkroom")
    assert first == sbom(tmp_path / "second.json")


def test_it_names_no_registry_but_the_public_one(tmp_path: Path):
    hosts = {
        re.sub(r"^https://([^/]+)/.*$", r"\1", source["url"])
        for one in sbom(tmp_path / "sbom.json")["components"]
        for source in one["externalReferences"]
    }
    assert hosts == {"pypi.org"}


def sbom(file: Path):
    command = ["make", "sbom", f"SBOM={file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=patient(300))
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text(encoding="utf-8"))
