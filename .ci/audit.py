"""Known vulnerabilities of what the locks name, found by pip-audit: `audit.py PIP_AUDIT LOCK ...`.

An audit of nothing looks like one without findings. So each requirement of a lock must be in the answer, with the
version of the lock, whatever the platform it is meant for.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
#: as they are: the locks name everything, so nothing has to be resolved or installed
_OPTIONS = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--desc", "off")

#: name and version
_Pin = tuple[str, str]

#: exit codes: something was found; nothing can be said
_FOUND, _UNKNOWN = 1, 2


def _required(lock: Path) -> set[_Pin]:
    """What a lock names, without its markers: what only other platforms install is part of a release, too."""
    return {(_canonical(name), version) for name, version in _REQUIREMENT.findall(lock.read_text(encoding="utf-8"))}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _audited(program: str, lock: Path, pins: set[_Pin]) -> Iterator[dict[str, Any]]:
    """What pip-audit says of each of them. It takes one version of a package at a time, and a lock may have two."""
    left = pins
    while left:
        now = dict(sorted(left))
        left = left - now.items()
        yield from _asked(program, lock, now)


def _asked(program: str, lock: Path, pins: Mapping[str, str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / lock.name
        file.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        command = [program, *_OPTIONS, "--requirement", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own tool
        except OSError as error:
            _give_up(lock, f"{program} cannot be started: {error.strerror}")
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        _give_up(lock, "pip-audit gave no result; it needs a network and the package index", done.stderr)
    return found


def _give_up(lock: Path, why: str, more: str = "") -> NoReturn:
    last = more.strip().rpartition("\n")[2]
    sys.stderr.write(f"{lock.name} was not audited: {why}{f' (it said: {last})' if last else ''}\n")
    sys.exit(_UNKNOWN)


def _complaints(lock: Path, answers: Sequence[dict[str, Any]]) -> Iterator[str]:
    for one in answers:
        for each in one.get("vulns", ()):
            fixed = ", ".join(each["fix_versions"]) or "no version yet"
            names = ", ".join([each["id"], *each.get("aliases", ())])
            yield f"{lock.name}: {one['name']} {one['version']}: {names}; fixed in {fixed}"


def main() -> None:
    program, *locks = sys.argv[1:]
    complaints: list[str] = []
    for lock in map(Path, locks):
        required = _required(lock)
        if not required:
            _give_up(lock, "it names no requirement")
        answers = list(_audited(program, lock, required))
        missing = required - {(_canonical(one["name"]), one["version"]) for one in answers if "vulns" in one}
        if missing:
            some = ", ".join(f"{name} {version}" for name, version in sorted(missing)[:5])
            why = next((str(one["skip_reason"]) for one in answers if one.get("skip_reason")), "")
            _give_up(lock, f"nothing is known of {len(missing)} of its {len(required)} requirements: {some}", why)
        sys.stdout.write(f"{lock.name}: {len(required)} requirements audited\n")
        complaints += _complaints(lock, answers)
    if complaints:
        sys.stderr.write("\n".join([*complaints, "known vulnerabilities: raise the versions (`make lock`)", ""]))
        sys.exit(_FOUND)
    sys.stdout.write("no known vulnerabilities\n")


if __name__ == "__main__":
    main()
