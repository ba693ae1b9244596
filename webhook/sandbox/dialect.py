"""What all pretend providers do with a submission or a question; how they say it is up to each dialect."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import HTTPException

from webhook.sandbox.example import Example
from webhook.sandbox.faults import ANSWERS, COURSE, FaultsInvalid, fault_words
from webhook.sandbox.keys import asking_key
from webhook.sandbox.server import Hangup
from webhook.sandbox.studio import HANG, Studio
from webhook.sandbox.task import Task, Vendor

T = TypeVar("T", bound=Task)
#: what the journal is told about a submission
Facts = dict[str, Any]


class Refusal(Exception):
    """An answer that is no success; `code` is the vendor's own, `more` are other fields that belong to it."""

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
    """One provider. A subclass names its endpoints in its constructor with `submits` and `answers`."""

    #: what its vendor calls it, and the address that its clients ask in earnest
    title: ClassVar[str]
    instead_of: ClassVar[str]
    example: ClassVar[Example]
    #: of its paths; the longest that fits decides which dialect answers for a path that does not exist
    prefix: ClassVar[str]

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self.studio = studio
        self.blueprint = Blueprint(self.name, __name__)

    # --- endpoints ---

    def submits(self, path: str, make: Callable[[Facts], T]) -> None:
        """POST to `path` is a submission: `make` refuses it (Refusal) or returns the task to be accepted."""
        self._add("POST", path, lambda **_: self._submit(make))

    def answers(self, method: str, path: str, answer: Callable[..., Any]) -> None:
        """A question; `answer` takes the variables of the path and returns JSON or a Response, or raises Refusal."""

        def view(**variables: str) -> Response:
            try:
                given = answer(**variables)
                response = given if isinstance(given, Response) else jsonify(given)
            except Refusal as refusal:
                response = self.error(refusal)
            self.studio.journal.note(
                "query", provider=self.name, path=path, key=asking_key(), status=response.status_code
            )
            return response

        self._add(method, path, view)

    def _add(self, method: str, path: str, view: Callable[..., Response]) -> None:
        self.blueprint.add_url_rule(path, f"{method} {path}", view, methods=[method])

    # --- a submission ---

    def knobs(self, facts: Facts, text: str, **asked: Any) -> frozenset[str]:
        """The knobs of this submission by the words in `text` and by chance; `asked` is noted in the journal.

        Raises Refusal when a knob refuses it, so it comes after the checks of the vendor's own.
        """
        facts |= asked
        try:
            words = fault_words(text)
        except FaultsInvalid as error:
            raise self.bad_request(f"prompt: {error}") from error
        if knob := self.studio.keys.trouble() or self.studio.faults.refusal(text, words):
            facts["fault"] = knob
            raise self.fault(knob)
        return words | self.studio.faults.draw((*ANSWERS, *COURSE))

    def _submit(self, make: Callable[[Facts], T]) -> Response:
        facts: Facts = {"provider": self.name, "key": asking_key(), "received_at": time.time()}
        try:
            task = make(facts)
            facts["task_id"] = task.id
            self.studio.accept(task)
            answer = self._answer(task, facts)
        except Refusal as refusal:
            answer = self.error(refusal)
            facts["message"] = refusal.message
        self.studio.journal.note("submit", **{"status": answer.status_code, **facts})
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
        self.studio.stopping.wait(seconds)
        raise Hangup

    # --- its words ---

    @abstractmethod
    def acknowledge(self, task: T) -> Any:
        """The answer to an accepted submission, as JSON; raises Refusal if it waits and the task fails meanwhile."""

    @abstractmethod
    def without_id(self) -> Any:
        """An acknowledgement that forgets the task id."""

    @abstractmethod
    def fault(self, knob: str) -> Refusal:
        """How the vendor says `knob`: one of those in `REFUSALS`, or `error_after`."""

    @abstractmethod
    def bad_request(self, message: str) -> Refusal:
        """A request that is wrong."""

    @abstractmethod
    def error(self, refusal: Refusal) -> Response:
        """The vendor's form of an error."""

    def http_error(self, error: HTTPException) -> Refusal:
        """A path or method that does not exist, or an accident of our own."""
        status = error.code or 500
        return Refusal(status, str(error.description), status=status)
