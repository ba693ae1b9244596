"""Every other Python from 3.11 on that this machine has, on PATH or as pyenv's; or those that the arguments name.

One line for each: `3.12=/path/to/python3.12`. What was found is also said, on standard error.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: fails where the packages of an environment are missing (Debian splits them off), and for what is not yet released
_ASK = """
import ensurepip, sys, venv
assert sys.version_info >= (3, 11, 0, "final")
print("%d.%d" % sys.version_info[:2])
"""


def _candidates() -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    newest_first = sorted(pyenv.glob("*/bin"), key=lambda folder: _numbers(folder.parent.name), reverse=True)
    for folder in (*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *newest_first):
        yield from sorted(path for path in folder.glob("python3.*") if re.fullmatch(r"python3\.[0-9]+", path.name))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _version(python: str | Path) -> str | None:
    """None if it does not run, as pyenv's shims of versions that are not chosen, or is none of those we want."""
    try:
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main() -> None:
    found: dict[str, str | Path] = {}
    if named := sys.argv[1:]:
        for python in named:
            version = _version(python)
            if version is None:
                sys.exit(f"{python} is no Python from 3.11 on that can make a virtual environment")
            found[version] = python
    else:
        for path in _candidates():
            version = _version(path)
            if version is not None and version != "{}.{}".format(*sys.version_info):
                found.setdefault(version, path)
    found = dict(sorted(found.items(), key=lambda one: _numbers(one[0])))
    said = ", ".join(f"{version} ({python})" for version, python in found.items())
    sys.stderr.write(f"other Pythons: {said or 'none from 3.11 on was found'}\n")
    for version, python in found.items():
        print(f"{version}={python}")  # noqa: T201


if __name__ == "__main__":
    main()
