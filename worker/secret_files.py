"""A secret in a file instead of the environment: `NAME_FILE` beside `NAME`."""

import os
from pathlib import Path

from worker.errors import ConfigurationError


def read_secret_file(setting: str) -> str | None:
    """The text of the file that `<SETTING>_FILE` names, None if it names none.

    Raises ConfigurationError for a file that cannot be read, or is empty.
    """
    variable = f"{setting.upper()}_FILE"
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{variable}: cannot read {path}: {reason}") from error
    if not value:
        raise ConfigurationError(f"{variable}: {path} is empty")
    return value
