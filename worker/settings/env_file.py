"""`.env` in the working folder: it says what the environment of this process does not say itself."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import read_setting_file

#: the file that this process, or the one that started it, has read: nobody reads one again, and a demo reads none
ENV_FILE_READ = "DARKROOM_ENV_FILE_READ"
ENV_FILE_NAME = ".env"
_WRITTEN_AS = "write NAME=value, one per line"


def use_env_file() -> None:
    """Add the settings of `.env` to the environment, which libraries and child processes read as well.

    A variable that is set, also to nothing or as NAME_FILE, is left as it is. Raises ConfigurationError, which names
    the line.
    """
    path = Path(ENV_FILE_NAME).absolute()
    if ENV_FILE_READ in os.environ or not path.is_file():
        return
    _refuse_foreign(path)
    given = {_setting(name) for name in os.environ}
    # Empty means unset, which not every library knows.
    found = {name: value for name, value in read_env_file(path).items() if value and _setting(name) not in given}
    os.environ.update({**found, ENV_FILE_READ: str(path)})


def read_env_file(path: Path) -> Mapping[str, str]:
    """What it says, by name. Raises ConfigurationError, which names the line."""
    # Only who has such a file pays for the library.
    from dotenv.parser import parse_stream  # noqa: PLC0415

    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(read_setting_file(ENV_FILE_NAME, path))):
        text = binding.original.string
        # Empty lines before it belong to it.
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        place = f"{path}, line {line}"
        if binding.error:
            raise ConfigurationError(f"{place} is not a setting: {_WRITTEN_AS}")
        if binding.key is None:
            continue
        if binding.value is None:
            raise ConfigurationError(f"{place} gives {binding.key} no value: {_WRITTEN_AS}")
        values[binding.key] = binding.value
    return values


def env_line(name: str, value: str) -> str:
    """A line of such a file; raises ValueError for a value that none can hold."""
    if not value.isprintable():
        raise ValueError(f"{name} must be one line of printable characters")
    if re.fullmatch(r"[\w@%+=:,./-]*", value, re.ASCII):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


def env_file_warnings(env: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the file that was read, although it can be read."""
    path = env.get(ENV_FILE_READ)
    if path and Path(path).is_file() and stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
        yield f"other users can read {path}, which may hold keys: run `chmod 600 {path}`"


def _refuse_foreign(path: Path) -> None:
    """Whoever can write it could send our keys to a server of theirs."""
    found = path.stat()
    if found.st_uid not in {os.geteuid(), 0}:
        raise ConfigurationError(
            f"{path} belongs to another user (number {found.st_uid}) and is not read: change its owner, or use "
            "another folder"
        )
    if found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"every user can change {path}, so it is not read: run `chmod 600 {path}`")


def _setting(name: str) -> str:
    # As the settings read them.
    return name.upper().removesuffix("_FILE")
