"""Ace Data Cloud: submissions to `/midjourney/imagine` and similar endpoints, queries to `/midjourney/tasks`.

Wire facts: docs.acedata.cloud (the Midjourney pages, concepts/responses for the error codes) and the vendor's
AceDataCloud/MidjourneyMCP. Surprises: an unknown task is an empty object with status 200; 403 means a forbidden prompt
or an empty balance; without `callback_url` or `async`, the reply takes minutes; texts accept neither and have no task.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import ClassVar

from worker.errors import CallbackUnreadable, QueryFailed, RequestInvalid, Uncertain
from worker.generation import Accepted, GenerationRequest, Operation, Outcome, Status
from worker.providers.acedata.capabilities import CAPABILITIES, IMAGINE, PATHS, TEXTS
from worker.providers.acedata.mask import as_mask
from worker.providers.acedata.results import (
    CODES,
    read_listed,
    read_record,
    read_refusal,
    read_result,
    read_text,
    shown_fields,
)
from worker.providers.base import Mark, Provider
from worker.providers.capability import ProviderRequest
from worker.providers.http import ApiClient, read_key
from worker.providers.listing import Listed, ListedTask, Shown, paged
from worker.providers.model_versions import MIDJOURNEY
from worker.providers.reading import identifier, read_object
from worker.providers.translation import terms_of
from worker.settings import Settings

TITLE = "Ace Data Cloud"

#: seconds to wait for a text, which is generated before the reply begins
TEXT_PATIENCE = 35.0


class AceDataCloud(Provider):
    """Ace Data Cloud (platform.acedata.cloud). Raises ConfigurationError if its API token is missing."""

    name = "acedata"
    title = TITLE
    prefix = "acedatacloud"
    key_setting = "ACEDATACLOUD_API_TOKEN"
    capabilities: ClassVar = CAPABILITIES
    versions = MIDJOURNEY
    prompt_limit = 6000
    input_limit = 10 * 1024 * 1024
    fetch_limit = 50
    listed = Listed.BY_CALLBACK_URL
    shown = frozenset(CAPABILITIES) - TEXTS.keys()
    result_hosts = frozenset(
        {"acedata.cloud", "storage.fonedis.cc", "cdn.midjourney.com", "cdn.discordapp.com", "media.discordapp.net"}
    )

    def __init__(self, settings: Settings) -> None:
        token = read_key(TITLE, self.key_setting, settings.acedatacloud_api_token)
        self._api = ApiClient(
            TITLE,
            settings.acedatacloud_base_url,
            credentials={"Authorization": f"Bearer {token}"},
            codes=CODES,
            read_refusal=read_refusal,
        )

    def translate(self, request: GenerationRequest) -> ProviderRequest:
        operation = request.operation
        path = f"/midjourney/{operation}" if operation in TEXTS else PATHS.get(operation, IMAGINE)
        return ProviderRequest(operation=operation, action=request.action, path=path, body=self._body(request))

    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        if request.operation in TEXTS:
            reply = self._api.post_once(request.path, request.body, patience=TEXT_PATIENCE)
            text = read_text(reply, TEXTS[request.operation])
            if text is None:
                raise Uncertain(f"{TITLE} replied without the text, but may have charged it", code="no_text")
            return Outcome(status=Status.SUCCEEDED, text=text)
        answer_at_once = {"callback_url": mark.callback_url} if mark.callback_url else {"async": True}
        reply = self._api.post_once(request.path, {**request.body, **answer_at_once})
        task_id = identifier(reply.get("task_id")) if isinstance(reply, dict) else None
        return self._taken(task_id, "task_id")

    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:  # noqa: ARG002
        data = read_object(body)
        task_id = identifier(data.get("task_id"))
        if task_id is None and data.get("task_id") is not None:
            raise CallbackUnreadable("the task_id is not an identifier")
        if not data.keys() & {"success", "error", "progress"}:
            raise CallbackUnreadable("it reports neither success nor failure nor progress")
        return read_result(data, task_id)

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        if len(task_ids) == 1:
            records: list[object] = [self._ask(action="retrieve", id=next(iter(task_ids)))]
        elif task_ids:
            # Without a limit, a page has 12 records.
            records = self._list(ids=list(task_ids), limit=len(task_ids))
        else:
            return {}
        read = [read_record(record) for record in records]
        return {found.task_id: found for found in read if found and found.task_id and found.task_id in task_ids}

    def recent(self, since: datetime) -> Iterator[ListedTask]:
        """Yield all tasks but texts, whose records do not show which of them the ledger has."""

        def page(_: int, seen: int) -> list[ListedTask | None]:
            return [read_listed(record) for record in self._list(offset=seen, limit=self.fetch_limit)]

        return paged(page, since, TITLE)

    def shown_request(self, request: ProviderRequest) -> Shown | None:
        if request.operation in TEXTS:
            return None
        return shown_fields(request.path.rpartition("/")[2], request.body)

    def _body(self, request: GenerationRequest) -> dict[str, object]:
        operation, action = request.operation, request.action
        terms = terms_of(self, request)
        body = dict(terms.fields)
        if terms.prompt:
            body["content" if operation is Operation.TRANSLATE else "prompt"] = terms.prompt
        if "mask" in body:
            body["mask"] = as_mask(str(body["mask"]))
        if "style_images" in request.options:
            # The price of --sref depends on this field.
            body.setdefault("style_reference", True)
        if action is None:
            return body if operation in TEXTS else body | {"action": "generate"}
        if operation is Operation.VIDEO_EXTEND:
            index = CAPABILITIES[operation].actions.index(action)
            return body | {"action": "extend", "video_id": _of_parent(request, "video_id"), "video_index": index}
        image_id = _of_parent(request, "image_id")
        return {"image_id": image_id} if operation in TEXTS else body | {"action": action, "image_id": image_id}

    def _ask(self, **question: object) -> dict[str, object]:
        try:
            reply = self._api.query("/midjourney/tasks", question)
        except QueryFailed as error:
            if error.code == "task_not_found":
                return {}
            raise
        if not isinstance(reply, dict):
            raise QueryFailed(f"{TITLE} replied with JSON that is not an object", code="unreadable_reply")
        return reply

    def _list(self, **filters: object) -> list[object]:
        items = self._ask(action="retrieve_batch", **filters).get("items")
        if not isinstance(items, list):
            raise QueryFailed(f"{TITLE} replied without a list of tasks", code="unreadable_reply")
        return items


def _of_parent(request: GenerationRequest, name: str) -> str:
    if not (value := request.parent.get(name)):
        raise RequestInvalid(f"{request.action} needs the {name} of a parent that has succeeded")
    return value
