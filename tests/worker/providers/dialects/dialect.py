"""What the contract tests must know of a provider."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.errors import ProviderError
from worker.generation import GenerationRequest, Operation
from worker.settings.settings import Settings

PAYLOADS = Path(__file__).parents[3] / "payloads"
API_TOKEN = "tok_2f61c0ffee"


@dataclass(frozen=True)
class Dialect:
    """The wire facts of one provider that its tests need."""

    settings: Callable[[str], Settings]
    keyless: Settings
    key_name: str
    callback_field: str
    #: the reply to a submission that was taken, and the task_id it names
    taken: Mapping[str, Any]
    task_id: str
    #: status, file with the body or the body itself, error, its code
    refusals: tuple[tuple[int, str | Mapping[str, Any], type[ProviderError], str], ...]
    #: payload files that are the body of a callback
    callbacks: tuple[str, ...]
    #: payload files that are the reply to a question about the tasks named here
    replies: Mapping[str, tuple[str, ...]]
    #: the body of a refusal with status 400 that quotes these words of the request
    quoting: Callable[[str], Mapping[str, Any]]
    #: names of fields, for bodies that are nearly right
    words: tuple[str, ...]
    #: the task_id in the JSON of a callback
    task_id_of: Callable[[Any], Any] = lambda body: body["task_id"]
    #: whether there is a list, in which a submission can be found by its mark
    lists: bool = True
    #: callbacks that must be put before a person, although their name says something else
    unreadable: frozenset[str] = field(default_factory=frozenset)
    #: the least that each operation takes: for a follow-up one of its actions, with a parent that does for all of them
    examples: Mapping[Operation, GenerationRequest] = field(default_factory=dict)
    #: the reply of each operation whose reply is the result (texts)
    answers: Mapping[Operation, Mapping[str, Any]] = field(default_factory=dict)
    #: a value of an option where `operations.VALUES` has none that does; a dict of options that only go together
    values: Mapping[str, Any] = field(default_factory=dict)
