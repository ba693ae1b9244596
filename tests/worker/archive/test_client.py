from pathlib import Path

import pytest
from botocore.session import Session

from worker.archive.client import Addresses
from worker.errors import ConfigurationError


def test_the_keys_of_the_bucket_may_lie_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        (tmp_path / name).write_text(f"{name} of a file\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    session = Session()
    Addresses(session, "a-bucket", "auto", None)
    known = session.get_credentials()
    assert known is not None
    assert (known.access_key, known.secret_key) == ("id", "AWS_SECRET_ACCESS_KEY of a file")
    assert known.token == "AWS_SESSION_TOKEN of a file"


def test_a_file_of_a_key_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", "/nowhere/key")
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY_FILE: cannot read /nowhere/key"):
        Addresses(Session(), "a-bucket", "auto", None)
