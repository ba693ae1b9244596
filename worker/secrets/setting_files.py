"""Reads small text files named by settings."""

from pathlib import Path

from worker.errors import ConfigurationError

#: bytes
_LARGEST = 1024 * 1024


def read_setting_file(setting: str, path: Path) -> str:
    """Return the file's text. Raises ConfigurationError if it is unreadable, not UTF-8, too large or endless."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot read {path}: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ConfigurationError(
            f"{setting}: {path} is larger than {_LARGEST >> 20} MB, or endless: correct the file name"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{setting}: cannot read {path}: it is not UTF-8 text") from error
    if "\x00" in text:
        raise ConfigurationError(f"{setting}: cannot read {path}: it contains a NUL byte, so it is not text")
    return text
