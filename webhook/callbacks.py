"""POST /callbacks/<provider>/<attempt_id>/<token>: authenticate, store, 200. The worker parses it.

A WSGI application mounted beside Flask: Flask's overhead per request costs more than storing a callback.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge
from werkzeug.wrappers import Response

from webhook.body import read_body, read_on
from webhook.errors import answer
from worker.correlation import Signer
from worker.errors import RequestInvalid
from worker.ledger.database import Clock
from worker.ledger.outcome import Delivery
from worker.providers import is_whole

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: bytes; the largest callback in a provider's documentation has 6,000
LARGEST_BODY = 256 * 1024

_PATH = re.compile(r"/([a-z0-9_]{1,32})/([0-9a-f]{32})/([A-Za-z0-9]{1,16}\.[A-Za-z0-9_-]{43})")

# The headers that describe the body and its sender, and Kie's signature, which is checked when the body is parsed.
# A closed list: any other header may be a secret (Authorization, Cookie, X-Webhook-Secret), and ledgers are backed up.
_KEPT_HEADERS = {
    "Content-Type": "CONTENT_TYPE",
    "Content-Encoding": "HTTP_CONTENT_ENCODING",
    "User-Agent": "HTTP_USER_AGENT",
    # The sender, according to a proxy. Without a proxy, the client can claim anything: nothing is decided by it.
    "X-Forwarded-For": "HTTP_X_FORWARDED_FOR",
    "X-Webhook-Timestamp": "HTTP_X_WEBHOOK_TIMESTAMP",
    "X-Webhook-Signature": "HTTP_X_WEBHOOK_SIGNATURE",
}
#: how many characters of a header are kept
_HEADER_LENGTH = 500


class Callbacks:
    """The application mounted at `/callbacks`.

    `keep` returns once a delivery is durable; `announce` must not block. `note` gets the status of each answer and how
    many seconds it took, and must not block either.
    """

    def __init__(
        self,
        signer: Signer,
        clock: Clock,
        keep: Callable[[Delivery], None],
        announce: Callable[[], None],
        note: Callable[[int, float], None] = lambda _status, _seconds: None,
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._keep = keep
        self._announce = announce
        self._note = note

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        began = time.perf_counter()
        try:
            delivery = self._authentic(environ)
            if delivery is None:
                return self._refuse(Response(status=404), began)(environ, start_response)
            self._keep(delivery)
        except Exception as error:  # noqa: BLE001  the server would write the traceback to its log, secrets and all
            if isinstance(error, RequestEntityTooLarge):
                read_on(environ)
            return self._refuse(answer(error), began)(environ, start_response)
        self._note(200, time.perf_counter() - began)
        self._announce()
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    def _refuse(self, response: Response, began: float) -> Response:
        self._note(response.status_code, time.perf_counter() - began)
        return response

    def _authentic(self, environ: "WSGIEnvironment") -> Delivery | None:
        """Return the delivery, or None, without reading the body, if the token in the path is not valid."""
        path = _PATH.fullmatch(environ["PATH_INFO"])
        if path is None:
            return None
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed(["POST"])
        provider, attempt_id, token = path.groups()
        if not self._signer.verify(provider, attempt_id, token):
            return None
        headers = {name: environ[key][:_HEADER_LENGTH] for name, key in _KEPT_HEADERS.items() if key in environ}
        body = read_body(environ, LARGEST_BODY)
        if "HTTP_TRANSFER_ENCODING" in environ and not is_whole(headers, body):
            # If a chunk is broken, granian passes on what came before it, without an error.
            raise RequestInvalid("the body is not complete JSON: send it again, or with a Content-Length")
        return Delivery(
            attempt_id=attempt_id,
            provider=provider,
            received_at=self._clock(),
            remote_address=environ.get("REMOTE_ADDR"),
            headers=headers,
            body=body,
            digest=hashlib.sha256(body).hexdigest(),
        )
