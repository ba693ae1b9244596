"""`results.json`: the last result of each benchmark and of each kind of chaos run.

`make bench` and `make chaos` write it; times of whole commands are entered by hand. A run counts once its file is
committed and `make readme-figures` has rendered it.
"""

import json
import os
import platform
import subprocess
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")

Entry = Mapping[str, Any]


def load(file: Path = RESULTS) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def record(section: str, entries: Iterable[Entry], *, replaces: Collection[str], file: Path = RESULTS) -> None:
    """Put `entries` in the place of those that have the same values in the fields `replaces`."""
    results = load(file)
    taken_by = {name: value for name, value in _circumstances().items() if value}
    new = [{**entry, **taken_by} for entry in entries]
    values = [_values(entry, replaces) for entry in new]
    is_old = [_values(entry, replaces) in values for entry in results[section]]
    place = is_old.index(True) if any(is_old) else len(is_old)
    kept = [entry for entry, old in zip(results[section], is_old, strict=True) if not old]
    results[section] = sorted([*kept[:place], *new, *kept[place:]], key=_number)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _values(entry: Entry, names: Collection[str]) -> list[Any]:
    return [entry.get(name) for name in names]


def _number(entry: Entry) -> int:
    """10 of P10; chaos runs have none and stay in their order."""
    return int(str(entry.get("name", "P0"))[1:])


def _circumstances() -> dict[str, str]:
    command = ("git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty")
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {_system()}",
        "python": platform.python_version(),
    }


def _system() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.platform(terse=True)
    return f"{release['NAME'].removesuffix(' GNU/Linux')} {release.get('VERSION_ID', '')}".strip()
