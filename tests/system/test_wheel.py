"""The wheel, as `pip install darkroom[embedded]` leaves it on a machine that has nothing else."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.patience import patient
from tests.test_layering import PACKAGES, ROOT, files, imports, name_of

pytestmark = [pytest.mark.system, pytest.mark.processes]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as content:
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(content.read(name).decode()).get_all("Requires-Dist", [])


@pytest.fixture(scope="module")
def declared(requirements: list[str]) -> set[str]:
    """The distributions that pip would install beside the wheel, as those that are installed here declare it."""
    found: set[tuple[str, str]] = set()
    waiting = list(_needed(requirements, "embedded"))
    while waiting:
        wanted = waiting.pop()
        if wanted not in found:
            found.add(wanted)
            waiting += _needed(metadata.requires(wanted[0]) or (), wanted[1])
    return {name for name, _ in found}


def _needed(requirements: Iterable[str], extra: str) -> Iterator[tuple[str, str]]:
    """Name and extra, "" for none, of what is required with this extra."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            yield from ((name, more) for more in ("", *requirement.extras))


@pytest.fixture(scope="module")
def installed(wheel: Path, declared: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel and what it declares, and nothing else that is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    scripts = folder / "bin"
    site = Path(run(scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name in declared:
        for file in metadata.files(name) or ():
            _put(Path(str(file.locate())), Path(os.path.normpath(site / file)), scripts / "python")
    run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-index", "--no-deps", wheel)
    return scripts


def _put(source: Path, target: Path, python: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.parent == Path(sys.executable).parent and source.read_bytes().startswith(b"#!"):
        # A script begins with the path of its Python.
        target.write_bytes(re.sub(rb"^#!.*", b"#!" + os.fsencode(python), source.read_bytes(), count=1))
        target.chmod(0o755)
    elif source.exists():
        target.symlink_to(source)


def run(*command: object, cwd: Path | None = None, timeout: float = 120) -> str:
    """What it says on standard output; with nothing of the environment but PATH and HOME."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd or Path.home())}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=patient(timeout),
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return done.stdout


def test_every_import_is_of_a_declared_distribution(requirements: list[str]):
    """Directly declared: what another library happens to bring may be gone with its next version."""
    asked = {canonicalize_name(Requirement(text).name) for text in requirements if _is_for_users(text)}
    owners = metadata.packages_distributions()
    undeclared = {
        f"{name_of(path)}:{line}: {module}"
        for path in files(*PACKAGES)
        for module, line in imports(path, at_run_time=True)
        if (top := module.partition(".")[0]) not in sys.stdlib_module_names | {*PACKAGES}
        and asked.isdisjoint(map(canonicalize_name, owners.get(top, [])))
    }
    assert undeclared == set()


def _is_for_users(text: str) -> bool:
    marker = Requirement(text).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", "embedded", "mcp"))


def test_it_has_every_file_of_the_packages_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as content:
        there = {name for name in content.namelist() if ".dist-info/" not in name}
    ours = {
        name_of(path)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there == ours | {"worker/Procfile"}
    assert {Path(name).suffix for name in there} >= {".py", ".html", ".json", ".mako"}


def test_what_is_not_declared_cannot_be_imported_there(installed: Path, declared: set[str], tmp_path: Path):
    modules = {
        module
        for module, owners in metadata.packages_distributions().items()
        if module.isidentifier() and declared.isdisjoint(map(canonicalize_name, owners)) and module not in PACKAGES
    }
    assert {"pytest", "hatchling", "moto"} <= modules
    program = (
        "import importlib.util, json, sys; print(json.dumps([m for m in sys.argv[1:] if importlib.util.find_spec(m)]))"
    )
    assert json.loads(run(installed / "python", "-c", program, *sorted(modules), cwd=tmp_path)) == []
    where = run(installed / "python", "-c", "import worker; print(worker.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_demo_runs_from_it(installed: Path, tmp_path: Path):
    said = json.loads(run(installed / "darkroom", "demo", "--exit", "--json", "--delay", "0.5", cwd=tmp_path))
    assert (said["failed"], said["archived"]) == (0, said["submitted"])
    assert said["submitted"] >= 12
    # The split costs nothing.
    assert said["charges"] == said["submitted"] - 1
    assert len(said["providers"]) == 4
    (data,) = (tmp_path / "darkroom-data").iterdir()
    assert all(
        (data / "s3" / "darkroom" / asset["object_key"]).stat().st_size == asset["bytes"] for asset in said["assets"]
    )
