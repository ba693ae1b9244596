"""Parses Kie.ai's JSON: callbacks, task records and errors.

Wire facts: docs.kie.ai/mj-api (generate-mj-image, its callbacks, get-mj-task-details). Surprises: links are texts
in a callback and objects in a record, and clients have seen both as JSON within a text; four images come instead of a
grid; only the suffix of a link distinguishes videos from images.
"""

import logging
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from worker.errors import AccountBlocked, CallbackUnreadable, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import AssetKind, Link, Outcome, Status
from worker.providers.http import Refusal
from worker.providers.kie.capabilities import EXTENSIONS, UPSCALES, VARIATIONS
from worker.providers.reading import clean_text, identifier, link, read_json

log = logging.getLogger(__name__)

CODES: Mapping[str, type[ProviderError]] = {
    # 501: generation failed; 505: this feature is switched off
    **dict.fromkeys(("400", "404", "422", "501", "505"), Rejected),
    **dict.fromkeys(("401", "402", "403"), AccountBlocked),
    # 455: maintenance
    **dict.fromkeys(("429", "455"), NotTaken),
    # 433: met by a client, explained by nobody
    **dict.fromkeys(("408", "433", "500"), Uncertain),
}

_FILMS = (".mp4", ".mov", ".webm")


def read_refusal(data: object) -> Refusal | None:
    """Every reply has a `code`; 200 is the only good one."""
    if not isinstance(data, dict) or "code" not in data or _word(data["code"]) == "200":
        return None
    return Refusal(data["code"], data.get("msg"))


def task_id_of(body: Mapping[str, object]) -> str | None:
    """The task of a callback, from the first of the places that the vendor's pages name. Raises CallbackUnreadable."""
    data = body.get("data")
    places = ((place, name) for place in (data, body) if isinstance(place, dict) for name in ("taskId", "task_id"))
    named = next((place[name] for place, name in places if place.get(name) not in (None, "")), None)
    task_id = identifier(named)
    if task_id is None and named is not None:
        raise CallbackUnreadable("the task's id is not an identifier")
    return task_id


def read_callback(body: Mapping[str, object]) -> Outcome:
    """What a callback says; there are none before the end. Raises CallbackUnreadable."""
    task_id, code, data = task_id_of(body), _word(body.get("code")), body.get("data")
    if code is None:
        raise CallbackUnreadable("it has no code")
    if isinstance(data, dict) and data.keys() & {"state", "resultJson"}:
        raise CallbackUnreadable("it comes from Kie's Market (jobs/createTask), which has no Midjourney")
    if code != "200":
        reason, message = clean_text(code, 100), clean_text(body.get("msg"))
        return Outcome(status=Status.FAILED, task_id=task_id, reason=reason or "failed", message=message)
    return _succeeded(task_id, data)


def read_record(record: Mapping[str, object], task_id: str) -> Outcome:
    """What the record of this task says."""
    flag = _word(record.get("successFlag"))
    if flag in {"2", "3"}:
        code = record.get("errorCode")
        reason = clean_text(code, 100) if code else None
        return Outcome(
            status=Status.FAILED,
            task_id=task_id,
            reason=reason or "failed",
            message=clean_text(record.get("errorMessage")),
        )
    if flag == "1":
        try:
            return _succeeded(task_id, record.get("resultInfoJson"))
        except CallbackUnreadable as error:
            log.warning("Kie.ai: task %s ended, but its record is unusable: %s", task_id, error)
    elif flag != "0":
        log.warning("Kie.ai: task %s has the unknown successFlag %s", task_id, clean_text(flag, 40))
    return Outcome(status=Status.IN_PROGRESS, task_id=task_id)


def _succeeded(task_id: str | None, result: object) -> Outcome:
    links = _links(result)
    if not links:
        raise CallbackUnreadable("it reports success without a result")
    actions = _actions(links) if task_id else ()
    parent = {"task_id": task_id} if task_id else {}
    return Outcome(status=Status.SUCCEEDED, task_id=task_id, progress=100, links=links, actions=actions, parent=parent)


def _links(result: object) -> tuple[Link, ...]:
    """In their order and with repetitions: follow-ups name a result by its place."""
    result = _unpacked(result)
    urls = _unpacked(result.get("resultUrls")) if isinstance(result, dict) else None
    if urls is None:
        return ()
    if not isinstance(urls, list):
        raise CallbackUnreadable("resultUrls is not a list")
    return tuple(_link(url.get("resultUrl") if isinstance(url, dict) else url) for url in urls)


def _link(url: object) -> Link:
    found = link(url)
    is_film = urlsplit(found.url).path.lower().endswith(_FILMS)
    return Link(found.url, AssetKind.VIDEO) if is_film else found


def _actions(links: Sequence[Link]) -> tuple[str, ...]:
    """No reply says what is possible; the pages do."""
    if films := sum(link.kind is AssetKind.VIDEO for link in links):
        return EXTENSIONS[:films]
    # With fewer images it is unknown which of the four they are, and a single one has no follow-up.
    return (*UPSCALES, *VARIATIONS) if len(links) == 4 else ()


def _unpacked(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return read_json(value.encode(errors="surrogatepass"))
    except ValueError:
        raise CallbackUnreadable("its results are a string that is not JSON") from None


def _word(value: object) -> str | None:
    """A code, which clients have met as a number and as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None
