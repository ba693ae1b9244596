"""The demo's stand-ins for people and programs: the decision that its recipe waits for, and its event receiver."""

import base64
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: TID251 - with a longer queue
from pathlib import Path
from typing import Self

from tasks.cli.demo.beside import Beside
from tasks.cli.ui.output import note
from tasks.cli.ui.wakeup import ring
from tasks.usecases.approvals import approve, pending
from tasks.usecases.person import person
from worker.embedded import LOOPBACK, write_private
from worker.errors import DarkroomError
from worker.secrets import make_private_folder
from worker.services import Services
from worker.subscribers import WebhookSigner

RECIPE = "demo"
#: the event that the receiver asks for: the last of the demo
EVENT = "batch.completed"
#: the images that the demo picks
PICKED = (2,)
_TEXT = f"""\
# Cut the grid into its four images, at no cost, and upscale those that somebody picks.
name: {RECIPE}
steps:
  - {{id: cut, do: split}}
  - {{id: best, pick: person, timeout: 1h, otherwise: none, do: upscale}}
"""
#: seconds; workers send an event as soon as it happens
_EVENT_PATIENCE = 20.0


def write_recipe(folder: Path) -> None:
    """Write the demo's recipe to a new recipes folder."""
    make_private_folder(folder)
    write_private(folder / f"{RECIPE}.yaml", _TEXT)


class _Server(ThreadingHTTPServer):
    # On a busy machine the kernel drops connections beyond the queue, even after their requests were sent.
    request_queue_size = 128


class Receiver:
    """Somebody else's program: accepts events with a valid signature."""

    def __init__(self) -> None:
        self.secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        self.events = 0
        self._came = threading.Event()
        self._server = _Server((LOOPBACK, 0), self._handler())
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/events"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Wait until an event arrives, or the patience runs out."""
        self._came.wait(_EVENT_PATIENCE)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver, signer = self, WebhookSigner(self.secret)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = {name: self.headers.get(name) or "" for name in ("webhook-id", "webhook-timestamp")}
                is_genuine = sent["webhook-timestamp"].isdecimal() and secrets.compare_digest(
                    signer.headers(sent["webhook-id"], int(sent["webhook-timestamp"]), body)["webhook-signature"],
                    self.headers.get("webhook-signature") or "",
                )
                if is_genuine:
                    receiver.events += 1
                    receiver._came.set()
                self.send_response(204 if is_genuine else 401)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Decision(Beside):
    """Approves the recipe's images, as a person would with `darkroom approve`."""

    def __init__(self, here: Services) -> None:
        super().__init__()
        self._here = here
        self.is_made = threading.Event()

    def _run(self) -> None:
        try:
            if (asked := self._until(lambda: next(iter(pending(self._here)), None))) is None:
                return
            done = approve(self._here, asked.approval.id, PICKED, person("the demo"))
            note(f"recipe {RECIPE} asked which images to upscale; the demo approved {', '.join(map(str, PICKED))}")
            ring(*done.wakes)
        except DarkroomError as error:
            note(f"the demo could not decide: {error}")
        self.is_made.set()
