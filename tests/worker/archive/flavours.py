"""Pretend stores on loopback that are like S3 but for the manners of one: what it refuses, and what it gives back."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from tests.serving import HttpServer, at_work

#: status, code and words of a refusal
Refusal = tuple[int, str, str]


@dataclass(frozen=True)
class Manners:
    """`refuses`: by what an optional header's name begins with. ETags are the MD5 unless they are `opaque`."""

    refuses: dict[str, Refusal]
    forbids_path: Refusal | None = None
    opaque: bool = False
    #: the store computes a SHA-256 by itself, and tells it to whoever asks
    hashes: bool = False
    #: what it does to the bytes before it keeps them
    breaks: Callable[[bytes], bytes] = bytes


_SILENT = (501, "NotImplemented", "")
MINIO = Manners({})
#: as of 2024 and 2025, and as some were seen in 2026
B2 = Manners(
    {
        "x-amz-checksum": (400, "InvalidArgument", "Unsupported header '{}' received for this API call."),
        "x-amz-sdk-checksum": (400, "InvalidArgument", "Unsupported header '{}' received for this API call."),
        "x-amz-tagging": (400, "InvalidArgument", "Unsupported header '{}' received for this API call."),
    }
)
R2 = Manners({"x-amz-tagging": (501, "NotImplemented", "Header '{}' with value not implemented")}, opaque=True)
OSS = Manners(
    {"if-none-match": (501, "NotImplemented", "A header you provided implies functionality that is not implemented.")},
    forbids_path=(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access."),
)
CEPH = Manners({"x-amz-checksum": (400, "InvalidRequest", ""), "x-amz-storage-class": (400, "InvalidStorageClass", "")})
#: none of the above, and it does not say what it minds
MUTE = Manners({"x-amz-checksum": _SILENT, "x-amz-tagging": _SILENT, "if-none-match": _SILENT})
FLAVOURS = {"minio": MINIO, "b2": B2, "r2": R2, "ceph": CEPH, "mute": MUTE}


class Store(HttpServer):
    daemon_threads = False

    def __init__(self, manners: Manners) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manners = manners
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.parts: dict[str, bytes] = {}
        #: method and path of each request, and what it was answered
        self.log: list[tuple[str, str, int]] = []
        self.lock = Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, method: str) -> int:
        return sum(one[0] == method for one in self.log)


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.0"

    def do_PUT(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.key, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        with self.server.lock:
            if refused := self._refused():
                status, code, words = refused
                return self._answer(status, f"<Error><Code>{code}</Code><Message>{words}</Message></Error>".encode())
            getattr(self, f"_{self.command.lower()}")()
        return None

    do_HEAD = do_GET = do_POST = do_DELETE = do_PUT  # noqa: N815 (the base class looks for these names)

    def _refused(self) -> Refusal | None:
        manners = self.server.manners
        if manners.forbids_path and self.headers["Host"].startswith(("127.0.0.1", "oss.")):
            return manners.forbids_path
        if self.command in {"PUT", "POST"}:
            for start, (status, code, words) in manners.refuses.items():
                for name in self.headers:
                    if name.lower().startswith(start):
                        return status, code, words.format(name.lower())
        return None

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.server.log.append((self.command, self.key, status))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _put(self) -> None:
        kept = self.server.manners.breaks(self.body)
        if "partNumber" in self.query:
            self.server.parts[self.query["partNumber"][0]] = kept
            return self._answer(200, ETag=self._etag(kept))
        if self.headers.get("If-None-Match") == "*" and self.key in self.server.objects:
            return self._answer(412)
        self._keep(kept)
        return self._answer(200, ETag=self._etag(kept))

    def _post(self) -> None:
        if "uploads" in self.query:
            self.server.parts.clear()
            return self._answer(200, b"<UploadId>u</UploadId>")
        if self.headers.get("If-None-Match") == "*" and self.key in self.server.objects:
            return self._answer(412)
        numbers = re.findall(rb"<PartNumber>(\d+)<", self.body)
        self._keep(b"".join(self.server.parts[number.decode()] for number in numbers))
        return self._answer(200, b"<CompleteMultipartUploadResult/>")

    def _get(self) -> None:
        found = self.server.objects.get(self.key)
        if found is None:
            if "list-type" in self.query or self.key in {"/", "/photos"}:
                return self._answer(200, b"<ListBucketResult/>")
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        headers = {"ETag": self._etag(found)}
        if self.server.manners.hashes and self.headers.get("x-amz-checksum-mode"):
            headers["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(found).digest()).decode()
        return self._answer(200, found, **headers)

    _head = _get

    def _delete(self) -> None:
        if "uploadId" not in self.query:
            self.server.objects.pop(self.key, None)
        self._answer(204)

    def _keep(self, content: bytes) -> None:
        self.server.objects[self.key] = content
        self.server.headers[self.key] = {name.lower(): value for name, value in self.headers.items()}

    def _etag(self, content: bytes) -> str:
        return f'"{"0" * 32 if self.server.manners.opaque else hashlib.md5(content).hexdigest()}"'

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def store_with(manners: Manners) -> Iterator[Store]:
    with at_work(Store(manners)) as server:
        yield server
