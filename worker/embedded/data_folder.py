"""The data folder of one-machine mode: used by one process at a time; holds the secrets kept between runs."""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import open_private

SECRETS = "secrets.json"
LOCK = "darkroom.lock"
#: bytes; a larger file is not ours
_LARGEST = 1024 * 1024


@contextmanager
def folder_errors(data: Path) -> Iterator[None]:
    """Turn errors into one sentence that names the unusable path and the reason."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or data}: {error.strerror}; set DARKROOM_DATA to a writable folder"
        ) from error


@contextmanager
def sole_use(data: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises ConfigurationError, with the pid, if another process holds it."""
    with open(data / LOCK, "a+", encoding="ascii", opener=open_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ConfigurationError(
                f"{data} is in use by process {file.read().strip() or '(just starting)'}: "
                "stop that process first, or set DARKROOM_DATA to another folder"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_since(data: Path) -> datetime | None:
    """Return when the instance that runs in this folder was started; None if nothing runs there."""
    try:
        with open(data / LOCK, "rb", opener=open_private) as file:
            # A running instance holds an exclusive lock.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return datetime.fromtimestamp((data / LOCK).stat().st_mtime, UTC)
    except OSError:
        pass
    return None


def kept_secrets(data: Path) -> dict[str, str]:
    """Return the folder's own secrets, creating them once: signing keys, broker password, S3 server key."""
    known = read_values(data / SECRETS)
    kept = {
        "DARKROOM_SIGNING_KEYS": f"k1:{secrets.token_urlsafe(32)}",
        "REDIS_PASSWORD": secrets.token_urlsafe(32),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(32),
        **known,
    }
    if kept != known:
        write_private(data / SECRETS, json.dumps(kept, indent=1))
    return kept


def read_values(path: Path) -> dict[str, str]:
    """Return the file's flat JSON object; empty if there is no such file. Raises ConfigurationError if unreadable."""
    try:
        return {str(name): str(value) for name, value in json.loads(_read(path)).items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is damaged: restore it, or delete it to have it created again") from error


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=open_private) as file:
        return file.read(_LARGEST)


def write_private(path: Path, text: str) -> None:
    """Atomically replace a file with one that only its owner can read."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # created with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
