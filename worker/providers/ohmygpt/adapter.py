"""OhMyGPT: everything by POST under `/api/v1/ai/draw/mj/`, form-encoded, as its pages show it, or as JSON.

Wire facts: ohmygptdocs.apifox.cn (the pages of the Midjourney Open API); jiusiguer/mid-ohmygptapi for the bodies of
callbacks, which no page describes. Surprises: task ids are integers, and `data` in the reply to a submission is the id
itself; a refusal may come with HTTP status 200; `base64Array` is one repeated field.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from worker.errors import QueryFailed
from worker.generation import Accepted, GenerationRequest, Operation, Outcome
from worker.providers.base import Mark, Provider
from worker.providers.capability import ProviderRequest
from worker.providers.discord import (
    DISCORD_HOSTS,
    button_of,
    compose,
    listed_task,
    read_body,
    task_of,
)
from worker.providers.http import ApiClient, read_key
from worker.providers.listing import Listed, ListedTask, Shown, paged
from worker.providers.model_versions import MIDJOURNEY
from worker.providers.ohmygpt.capabilities import CAPABILITIES
from worker.providers.ohmygpt.results import (
    CODES,
    DEFAULT_POOL,
    TITLE,
    UNKNOWN_TASK,
    read_callback,
    read_listed,
    read_refusal,
    shown_imagine,
)
from worker.providers.reading import identifier
from worker.providers.translation import terms_of
from worker.settings import Settings

ROOT = "/api/v1/ai/draw/mj"

#: tasks per page of the list; the documented maximum
PAGE_SIZE = 20


class OhMyGPT(Provider):
    """OhMyGPT (ohmygpt.com). Raises ConfigurationError if its API key is missing."""

    name = "ohmygpt"
    title = TITLE
    prefix = "ohmygpt"
    key_setting = "OHMYGPT_API_KEY"
    capabilities: ClassVar = CAPABILITIES
    versions = MIDJOURNEY
    #: Discord's limit for the bot's command
    prompt_limit = 6000
    fetch_limit = 1
    listed = Listed.BY_CALLBACK_URL
    #: for other operations, the list shows neither images nor buttons
    shown = frozenset({Operation.IMAGINE})

    def __init__(self, settings: Settings) -> None:
        key = read_key(TITLE, self.key_setting, settings.ohmygpt_api_key)
        self._json = settings.ohmygpt_encoding == "json"
        self._api = ApiClient(
            TITLE,
            settings.ohmygpt_base_url,
            credentials={"Authorization": f"Bearer {key}"},
            codes=CODES,
            read_refusal=read_refusal,
            form=not self._json,
        )
        self.result_hosts = DISCORD_HOSTS | {"ohmygpt.com", urlsplit(settings.ohmygpt_base_url).hostname or ""}

    def translate(self, request: GenerationRequest) -> ProviderRequest:
        path, body = self._post_of(request)
        return ProviderRequest(operation=request.operation, action=request.action, path=path, body=body)

    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        webhook = {"webhook": mark.callback_url} if mark.callback_url else {}
        reply = self._api.post_once(request.path, {**request.body, **webhook})
        task_id = identifier(reply.get("data")) if isinstance(reply, dict) else None
        return self._taken(task_id)

    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:  # noqa: ARG002
        return read_callback(read_body(body), received_at)

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        found = {}
        for task_id in task_ids:
            data = self._ask("/query", taskId=self._as_sent(task_id))
            outcome = read_listed(data) if isinstance(data, dict) else None
            if outcome is not None and outcome.task_id == task_id:
                found[task_id] = outcome
        return found

    def recent(self, since: datetime) -> Iterator[ListedTask]:
        def page(number: int, _: int) -> list[ListedTask | None]:
            return [listed_task(task, read_listed, shown_imagine) for task in self._page(number)]

        return paged(page, since, TITLE)

    def shown_request(self, request: ProviderRequest) -> Shown | None:
        if request.operation not in self.shown:
            return None
        body = request.body
        as_listed = {"action": "IMAGINE", "prompt": body["prompt"], "taskType": body.get("type", DEFAULT_POOL)}
        # The list does not show which images were sent as files.
        return shown_imagine(as_listed, is_all="base64Array" not in body)

    def _page(self, number: int) -> list[object]:
        data = self._ask(f"/query-mj-tasks?page={number + 1}&pageSize={PAGE_SIZE}")
        tasks = data.get("tasks") if isinstance(data, dict) else None
        if not isinstance(tasks, list):
            raise QueryFailed(f"{TITLE} replied without a list of tasks", code="unreadable_reply")
        return tasks

    def _post_of(self, request: GenerationRequest) -> tuple[str, dict[str, object]]:
        terms = terms_of(self, request)
        body = {"model": "midjourney", **terms.fields}
        if request.action is not None:
            body |= {"taskId": self._as_sent(task_of(request)), "customId": button_of(request, TITLE)}
            if pool := request.parent.get("pool"):
                # According to one client, a follow-up must stay in the pool that generated its parent.
                body.setdefault("type", pool)
            return f"{ROOT}/action", body
        if request.operation is Operation.IMAGINE:
            prompt, files = compose(terms)
            body |= {"prompt": prompt, **({"base64Array": files} if files else {})}
        return f"{ROOT}/{request.operation}", body

    def _as_sent(self, task_id: str) -> int | str:
        if self._json and task_id.isascii() and task_id.isdecimal():
            return int(task_id)
        return task_id

    def _ask(self, path: str, **question: object) -> object:
        """Return the `data` of the reply; None for an unknown task."""
        try:
            reply = self._api.query(f"{ROOT}{path}", {"model": "midjourney", **question})
        except QueryFailed as error:
            if error.code in {"404", UNKNOWN_TASK}:
                return None
            raise
        if not isinstance(reply, dict) or "data" not in reply:
            raise QueryFailed(f"{TITLE} replied with JSON without data", code="unreadable_reply")
        return reply["data"]
