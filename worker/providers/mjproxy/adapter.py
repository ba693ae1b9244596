"""midjourney-proxy (self-hosted) and compatible relays.

Wire facts: novicezk/midjourney-proxy (Java: SubmitController, TaskController) and trueai-org/midjourney-proxy (C#:
actions and their windows); for relays that choose the speed by path or `accountFilter`, docs.rixapi.com
(guides/midjourney) and QuantumNous/new-api (router/relay-router.go: tasks are found without that path too). Surprises:
every reply has HTTP status 200 and a `code`; an unknown task is an empty body; a callback is tried once and may
overtake another; relays drop `notifyHook` and `state`, so they are polled.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import ClassVar
from urllib.parse import quote, urlsplit

from worker.errors import ConfigurationError, ProviderNotSet, QueryFailed, Rejected
from worker.generation import Accepted, GenerationRequest, Operation, Outcome
from worker.net import origin_of
from worker.pricing import SPEEDS
from worker.prompt_flags import flags_of, without_switches
from worker.providers.base import Mark, Provider
from worker.providers.capability import ProviderRequest, Terms
from worker.providers.discord import (
    DISCORD_HOSTS,
    GRID,
    button_of,
    compose,
    listed_task,
    read_body,
    task_of,
)
from worker.providers.http import ApiClient, read_key
from worker.providers.listing import Listed, ListedTask, paged
from worker.providers.mjproxy.capabilities import CAPABILITIES
from worker.providers.mjproxy.results import (
    CODES,
    FOLLOW_UP_CODES,
    TITLE,
    UNKNOWN_TASK,
    opens_window,
    read_callback,
    read_listed,
    read_refusal,
    read_relay,
    task_of_reply,
)
from worker.providers.model_versions import MIDJOURNEY
from worker.providers.translation import terms_of
from worker.settings import Settings

ACTION = "/mj/submit/action"
#: seconds for each wait on the reply to a window; added to the wait for the preceding reply, it must fit in one lease
WINDOW_PATIENCE = 15.0


class MidjourneyProxy(Provider):
    """A midjourney-proxy or a relay. Raises ConfigurationError if its address is missing; the secret is optional."""

    name = "mjproxy"
    title = TITLE
    prefix = "mjproxy"
    key_setting = "MJPROXY_API_SECRET"
    capabilities: ClassVar = CAPABILITIES
    versions = MIDJOURNEY
    #: Discord's limit for the bot's command
    prompt_limit = 6000
    fetch_limit = 50
    listed = Listed.BY_STATE

    def __init__(self, settings: Settings) -> None:
        url = settings.mjproxy_base_url
        if url is None:
            advice = f"set it to the address of your {TITLE}"
            if settings.mjproxy_api_secret is not None:
                raise ConfigurationError(f"{self.key_setting} is set, but MJPROXY_BASE_URL is not: {advice}")
            raise ProviderNotSet("MJPROXY_BASE_URL", advice)
        credentials = {}
        if settings.mjproxy_api_secret is not None:
            secret = read_key(TITLE, self.key_setting, settings.mjproxy_api_secret)
            # The proxy reads one header, relays read the other.
            credentials = {"mj-api-secret": secret, "Authorization": f"Bearer {secret}"}
        self._api, self._follow_up_api = (
            ApiClient(TITLE, url, credentials=credentials, codes=codes, read_refusal=read_refusal)
            for codes in (CODES, FOLLOW_UP_CODES)
        )
        self._simple = settings.mjproxy_change == "simple-change"
        self._speed = settings.mjproxy_speed
        more = (host.strip().lower() for host in settings.mjproxy_result_hosts.split(","))
        # Relays rewrite links to their own host; the C# version returns Midjourney's own links.
        own = {urlsplit(url).hostname or "", "cdn.midjourney.com", *more} - {""}
        self.result_hosts = DISCORD_HOSTS | own | {origin_of(url)}

    def translate(self, request: GenerationRequest) -> ProviderRequest:
        terms = terms_of(self, request)
        prompt, mask = request.prompt.strip(), terms.placed.get("mask")
        window = {**({"prompt": prompt} if prompt else {}), **({"maskBase64": mask} if mask else {})}
        path, body = self._post_of(request, terms)
        return ProviderRequest(operation=request.operation, action=request.action, path=path, body=body, window=window)

    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        ours = {"state": mark.attempt_id, **({"notifyHook": mark.callback_url} if mark.callback_url else {})}
        api = self._api if request.action is None else self._follow_up_api
        reply = _post(api, request.path, {**request.body, **ours})
        # A 21 that opens no window names the existing task of the same request: it is paid for, so it is ours now.
        task_id = task_of_reply(reply)
        if task_id is not None and request.path == ACTION and opens_window(reply):
            # Nothing is generated before the window is filled in, so the two POSTs are one submission.
            window = {"taskId": task_id, **_window_of(request, reply), **ours}
            reply = _post(api, "/mj/submit/modal", window, WINDOW_PATIENCE)
            task_id = task_of_reply(reply) or task_id
        return self._taken(task_id)

    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:  # noqa: ARG002
        return read_callback(read_body(body), received_at)

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        if len(task_ids) == 1:
            tasks = self._one(next(iter(task_ids)))
        else:
            tasks = self._list("/mj/task/list-by-condition", {"ids": list(task_ids)}) if task_ids else []
        read = [read_listed(task) for task in tasks]
        return {found.task_id: found for found in read if found and found.task_id and found.task_id in task_ids}

    def recent(self, since: datetime) -> Iterator[ListedTask]:
        def page(number: int, _: int) -> list[ListedTask | None]:
            # The whole list is one page.
            return [] if number else [listed_task(task, read_listed) for task in self._list("/mj/task/list")]

        return paged(page, since, TITLE)

    def _post_of(self, request: GenerationRequest, terms: Terms) -> tuple[str, dict[str, object]]:
        if request.action is not None:
            return self._follow_up_of(request, request.action)
        body = dict(terms.fields)
        if request.operation is Operation.IMAGINE:
            prompt, files = compose(terms)
            speed = None if self._speed == "flag" else next((one for one, _ in flags_of(prompt) if one in SPEEDS), None)
            if speed is not None:
                prompt = without_switches(prompt, SPEEDS)
            body = {"prompt": prompt, **({"base64Array": files} if files else {})}
            if speed is not None and self._speed == "path":
                return f"/mj-{speed}/mj/submit/imagine", body
            if speed is not None:
                body["accountFilter"] = {"modes": [speed.upper()]}
        return f"/mj/submit/{request.operation}", body

    def _follow_up_of(self, request: GenerationRequest, action: str) -> tuple[str, dict[str, object]]:
        task_id = task_of(request)
        # The Java version names no buttons and supports only actions on a grid.
        if request.parent.keys() - {"task_id"} or action not in GRID:
            return ACTION, {"taskId": task_id, "customId": button_of(request, TITLE)}
        index = int(action[-1]) if action[-1].isdecimal() else None
        if self._simple:
            return "/mj/submit/simple-change", {"content": f"{task_id} {action[0].upper()}{index or ''}"}
        # Relays refuse a reroll without an index; the proxy ignores it.
        word = action.rstrip("1234").upper()
        return "/mj/submit/change", {"taskId": task_id, "action": word, "index": index or 1}

    def _one(self, task_id: str) -> list[dict[str, object]]:
        try:
            task = self._api.get(f"/mj/task/{quote(task_id, safe='')}/fetch")
        except QueryFailed as error:
            if error.code in {"empty_reply", "3", UNKNOWN_TASK}:
                return []
            raise
        if task is not None and not isinstance(task, dict):
            raise QueryFailed(f"{TITLE} replied with JSON that is not a task", code="unreadable_reply")
        return [task] if task else []

    def _list(self, path: str, question: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        tasks = self._api.get(path) if question is None else self._api.query(path, question)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise QueryFailed(f"{TITLE} replied without a list of tasks", code="unreadable_reply")
        return tasks


def _window_of(request: ProviderRequest, reply: object) -> Mapping[str, object]:
    """Return what to fill in: a mask, and the prompt, which is the parent's if remix opened a window unasked."""
    properties = reply.get("properties") if isinstance(reply, dict) else None
    offered = properties.get("finalPrompt") if isinstance(properties, dict) else None
    if request.operation in {Operation.REGION, Operation.ZOOM} or not isinstance(offered, str) or not offered:
        return request.window
    return {**request.window, "prompt": offered}


def _post(api: ApiClient, path: str, body: Mapping[str, object], patience: float | None = None) -> object:
    try:
        return api.post_once(path, body, patience=patience)
    except Rejected as error:
        raise read_relay(error) from error
