"""`.env` in the working folder: settings for variables that this process's environment does not set."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import read_setting_file

#: the file that this process, or the one that started it, has read; it is read only once, and a demo reads none
ENV_FILE_READ = "DARKROOM_ENV_FILE_READ"
ENV_FILE_NAME = ".env"
_WRITTEN_AS = "write NAME=value, one per line"


def use_env_file() -> None:
    """Add the settings in `.env` to the environment, which libraries and child processes read too.

    A variable that is set, even to nothing or as NAME_FILE, stays as it is. Raises ConfigurationError, which names the
    line.
    """
    path = Path(ENV_FILE_NAME).absolute()
    if ENV_FILE_READ in os.environ or not path.is_file():
        return
    _refuse_foreign(path)
    given = {_setting(name) for name in os.environ}
    # Empty means unset, but not every library treats it so.
    found = {name: value for name, value in read_env_file(path).items() if value and _setting(name) not in given}
    os.environ.update({**found, ENV_FILE_READ: str(path)})


def read_env_file(path: Path) -> Mapping[str, str]:
    """Return the file's values by name. Raises ConfigurationError, which names the line."""
    # Imported here, so that the library costs nothing without such a file.
    from dotenv.parser import parse_stream  # noqa: PLC0415

    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(read_setting_file(ENV_FILE_NAME, path))):
        text = binding.original.string
        # Empty lines before a binding belong to it.
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
    """Return a line for such a file. Raises ValueError for a value that no line can contain."""
    if not value.isprintable():
        raise ValueError(f"{name} must be one line of printable characters")
    if re.fullmatch(r"[\w@%+=:,./-]*", value, re.ASCII):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


def env_file_warnings(env: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the file that was read, although it is readable."""
    path = env.get(ENV_FILE_READ)
    if path and Path(path).is_file() and stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
        yield f"other users can read {path}, which may hold keys: run `chmod 600 {path}`"


def _refuse_foreign(path: Path) -> None:
    """Refuse a file that others can write: they could send our keys to their own server."""
    found = path.stat()
    if found.st_uid not in {os.geteuid(), 0}:
        raise ConfigurationError(
            f"{path} belongs to another user (number {found.st_uid}) and is not read: change its owner, or use "
            "another folder"
        )
    if found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"every user can change {path}, so it is not read: run `chmod 600 {path}`")


def _setting(name: str) -> str:
    # As the settings read it.
    return name.upper().removesuffix("_FILE")
