"""How all sandbox providers handle submissions and queries; each dialect adds its own wire format."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import HTTPException

from webhook.sandbox.engine import HANG, Engine
from webhook.sandbox.example import Example
from webhook.sandbox.faults import ANSWERS, COURSE, FaultsInvalid, fault_words
from webhook.sandbox.keys import asking_key
from webhook.sandbox.server import Hangup
from webhook.sandbox.task import Task, Vendor

T = TypeVar("T", bound=Task)
#: what the journal records about a submission
Facts = dict[str, Any]


class Refusal(Exception):
    """An error reply; `code` is the vendor's own, `more` holds its other fields."""

    def __init__(
        self,
        code: int | str,
        message: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}
        self.more = more or {}


class Dialect(Vendor, Generic[T]):
    """One provider. A subclass declares its endpoints in its constructor with `submits` and `answers`."""

    #: the vendor's name for it, and the address of the real service
    title: ClassVar[str]
    instead_of: ClassVar[str]
    example: ClassVar[Example]
    #: its paths' prefixes; for a path that does not exist, the dialect with the longest match replies
    prefix: ClassVar[str]

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.blueprint = Blueprint(self.name, __name__)

    # --- endpoints ---

    def submits(self, path: str, make: Callable[[Facts], T]) -> None:
        """POST to `path` is a submission: `make` returns the task to accept, or raises Refusal."""
        self._add("POST", path, lambda **_: self._submit(make))

    def answers(self, method: str, path: str, answer: Callable[..., Any]) -> None:
        """A query: `answer` takes the path's variables and returns JSON or a Response, or raises Refusal."""

        def view(**variables: str) -> Response:
            try:
                given = answer(**variables)
                response = given if isinstance(given, Response) else jsonify(given)
            except Refusal as refusal:
                response = self.error(refusal)
            self.engine.journal.note(
                "query", provider=self.name, path=path, key=asking_key(), status=response.status_code
            )
            return response

        self._add(method, path, view)

    def _add(self, method: str, path: str, view: Callable[..., Response]) -> None:
        self.blueprint.add_url_rule(path, f"{method} {path}", view, methods=[method])

    # --- a submission ---

    def knobs(self, facts: Facts, text: str, **asked: Any) -> frozenset[str]:
        """Return the knobs of this submission, from the words in `text` and by chance; log `asked` in the journal.

        Raises Refusal if a knob refuses it; so call it after the vendor's own checks.
        """
        facts |= asked
        try:
            words = fault_words(text)
        except FaultsInvalid as error:
            raise self.bad_request(f"prompt: {error}") from error
        if knob := self.engine.keys.trouble() or self.engine.faults.refusal(text, words):
            facts["fault"] = knob
            raise self.fault(knob)
        return words | self.engine.faults.draw((*ANSWERS, *COURSE))

    def _submit(self, make: Callable[[Facts], T]) -> Response:
        facts: Facts = {"provider": self.name, "key": asking_key(), "received_at": time.time()}
        try:
            task = make(facts)
            facts["task_id"] = task.id
            self.engine.accept(task)
            answer = self._answer(task, facts)
        except Refusal as refusal:
            answer = self.error(refusal)
            facts["message"] = refusal.message
        self.engine.journal.note("submit", **{"status": answer.status_code, **facts})
        return answer

    def _answer(self, task: T, facts: Facts) -> Response:
        fault = next((knob for knob in ANSWERS if knob in task.knobs), None)
        facts["fault"] = fault
        match fault:
            case "error_after":
                raise self.fault(fault)
            case "hang" | "reset":
                facts["status"] = None
                return Response(map(self._hang_up, [HANG if fault == "hang" else 0]))
            case "garbled":
                return Response('{"task_id": "', mimetype="application/json")
            case "no_task_id":
                return jsonify(self.without_id())
        return jsonify(self.acknowledge(task))

    def _hang_up(self, seconds: float) -> bytes:
        self.engine.stopping.wait(seconds)
        raise Hangup

    # --- its wire format ---

    @abstractmethod
    def acknowledge(self, task: T) -> Any:
        """The reply to an accepted submission, as JSON; raises Refusal if it waits and the task fails meanwhile."""

    @abstractmethod
    def without_id(self) -> Any:
        """The same reply without the task id."""

    @abstractmethod
    def fault(self, knob: str) -> Refusal:
        """The vendor's error for `knob`: one of `REFUSALS`, or `error_after`."""

    @abstractmethod
    def bad_request(self, message: str) -> Refusal:
        """The vendor's error for an invalid request."""

    @abstractmethod
    def error(self, refusal: Refusal) -> Response:
        """The vendor's error format."""

    def http_error(self, error: HTTPException) -> Refusal:
        """The error for an unknown path or method, or for a bug in the sandbox."""
        status = error.code or 500
        return Refusal(status, str(error.description), status=status)
