"""Secrets in files instead of the environment: `NAME_FILE` as an alternative to `NAME`."""

import os
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets.setting_files import read_setting_file

#: boto3 reads these variables itself, but cannot read them from files
_BUCKET_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def bucket_credentials() -> dict[str, str]:
    """Return the bucket's credentials from variables or files. Raises like `read_secret_file`."""
    found = {name: os.environ.get(name) or read_secret_file(name) for name in _BUCKET_CREDENTIALS}
    return {name: value for name, value in found.items() if value}


def read_secret_file(setting: str) -> str | None:
    """Return the text of the file named by `<SETTING>_FILE`; None if that is not set.

    Raises ConfigurationError for a file that cannot be read or is empty.
    """
    variable = f"{setting.upper()}_FILE"
    path = os.environ.get(variable)
    if not path:
        return None
    value = read_setting_file(variable, Path(path)).strip()
    if not value:
        raise ConfigurationError(f"{variable}: {path} is empty")
    return value
