"""A client of the sandbox and a receiver of its callbacks, both without any of our own code."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import urllib3
from PIL import Image

from tests.patience import patient, wait_for
from tests.serving import HttpServer, at_work

PAYLOADS = Path(__file__).parents[2] / "payloads"
TOKEN = {"Authorization": "Bearer anything"}


def payload(name: str, provider: str = "acedata") -> Any:
    return json.loads((PAYLOADS / provider / name).read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """Keys and types of a JSON value, all the way down; the length of a list does not matter."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def until(ask: Callable[[], Any], seconds: float = 5) -> Any:
    """Ask again until the answer is true."""
    answer = wait_for(ask, seconds, pause=0.005)
    assert answer, "it did not happen in time"
    return answer


def mask(side: int = 16) -> str:
    """As the guide makes it: a grayscale JPEG in Base64, white where to redraw."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 255).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def open_picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@dataclass
class Client:
    url: str
    http: urllib3.PoolManager

    def post(self, path: str, body: Any, **headers: str) -> urllib3.BaseHTTPResponse:
        headers = TOKEN | {"Content-Type": "application/json"} | headers
        return self.http.request(
            "POST", self.url + path, body=json.dumps(body), headers=headers, retries=False, timeout=8
        )

    def get(self, path_or_link: str) -> urllib3.BaseHTTPResponse:
        link = path_or_link if path_or_link.startswith("http") else self.url + path_or_link
        return self.http.request("GET", link, retries=False, timeout=patient(8))

    def imagine(self, prompt: str = "tiny: a fox", **fields: Any) -> urllib3.BaseHTTPResponse:
        return self.post("/midjourney/imagine", {"prompt": prompt} | fields)

    def made(self, prompt: str = "tiny: a fox", **fields: Any) -> dict[str, Any]:
        answer = self.imagine(prompt, **fields)
        assert answer.status == 200, answer.data
        return answer.json()

    def record(self, task_id: str) -> dict[str, Any]:
        answer = self.post("/midjourney/tasks", {"action": "retrieve", "id": task_id})
        assert answer.status == 200, answer.data
        return answer.json()

    def finished(self, task_id: str) -> dict[str, Any]:
        return until(lambda: record if "response" in (record := self.record(task_id)) else None)


@dataclass
class Receiver:
    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0

    def first(self) -> Any:
        return until(lambda: self.bodies)[0]


@contextmanager
def receiving(seconds: float = 0, statuses: tuple[int, ...] = ()) -> Iterator[Receiver]:
    """Take callbacks at a free port; each answer takes some seconds, the first ones have these statuses."""
    lock = threading.Lock()
    at_once = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            nonlocal at_once
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                at_once += 1
                receiver.most_at_once = max(receiver.most_at_once, at_once)
            time.sleep(seconds)
            with lock:
                at_once -= 1
                status = (*statuses, 200)[min(len(receiver.bodies), len(statuses))]
                receiver.headers.append(dict(self.headers))
                receiver.bodies.append(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    with at_work(HttpServer(("127.0.0.1", 0), Handler)) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/callbacks/acedata/a1/token")
        yield receiver
