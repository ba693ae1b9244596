"""Ace Data Cloud: `/midjourney/imagine` for every picture and follow-up, `/midjourney/tasks` to ask about them.

Wire facts: docs.acedata.cloud (Midjourney Imagine and Tasks pages, concepts/responses for the error codes) and the
vendor's AceDataCloud/MidjourneyMCP for the actions. What surprises: an unknown task is an empty object with status 200;
403 means a forbidden prompt or an empty balance; without `callback_url` or `async` the reply takes minutes.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from worker.errors import (
    AccountBlocked,
    CallbackUnreadable,
    ConfigurationError,
    NotTaken,
    ProviderError,
    QueryFailed,
    Rejected,
    RequestInvalid,
    Uncertain,
)
from worker.generation import GenerationRequest, Operation, Outcome
from worker.providers import Submission
from worker.providers.acedata_results import read_record, read_refusal, read_result
from worker.providers.http import ApiClient
from worker.providers.options import FLAG, SECONDS, level, one_of, read_options, text
from worker.providers.reading import identifier, read_json
from worker.settings import Settings

TITLE = "Ace Data Cloud"

CODES: Mapping[str, type[ProviderError]] = {
    **dict.fromkeys(("bad_request", "api_not_implemented", "no_api", "forbidden"), Rejected),
    **dict.fromkeys(("no_token", "invalid_token", "token_expired", "token_mismatched"), AccountBlocked),
    **dict.fromkeys(("disabled", "used_up"), AccountBlocked),
    "too_many_requests": NotTaken,
    # Names from an older edition of the vendor's page.
    **dict.fromkeys(("content_moderation", "task_not_found"), Rejected),
    **dict.fromkeys(("unauthorized", "insufficient_balance"), AccountBlocked),
    "rate_limited": NotTaken,
}

OPTIONS = {
    "mode": one_of("fast", "relax", "turbo"),
    "timeout": SECONDS,
    "translation": FLAG,
    "split_images": FLAG,
    # Not limited to the versions of today: the vendor adds new ones.
    "version": text("a version such as 8.1"),
    "hd": FLAG,
    "quality": level(".25", ".5", "1", "2", "4"),
    "style_reference": FLAG,
    "moodboard": FLAG,
    "mask": text("a link to the mask image or its Base64 text"),
}

ACTIONS: Mapping[Operation, tuple[str, ...]] = {
    Operation.UPSCALE: (
        *("upscale1", "upscale2", "upscale3", "upscale4"),
        *("upscale_2x", "upscale_4x", "upscale_subtle", "upscale_creative"),
        *("redo_upscale_2x", "redo_upscale_4x", "redo_upscale_subtle", "redo_upscale_creative"),
    ),
    Operation.VARIATION: (
        *("variation1", "variation2", "variation3", "variation4"),
        *("variation_subtle", "variation_strong"),
    ),
    Operation.REROLL: ("reroll",),
    Operation.PAN: ("pan_left", "pan_right", "pan_up", "pan_down"),
    Operation.ZOOM: ("zoom_out_2x", "zoom_out_1_5x", "square"),
    Operation.REGION: ("variation_region",),
}

#: `find` reads the newest tasks only: the one it looks for was submitted minutes ago
PAGES = 4


class AceDataCloud:
    """Ace Data Cloud (platform.acedata.cloud). Raises ConfigurationError if its API token is missing."""

    name = "acedata"
    operations = frozenset({Operation.IMAGINE, *ACTIONS})
    options = frozenset(OPTIONS)
    prompt_limit = 6000
    signs_callbacks = False
    #: undocumented; the signed links of the vendor's newer examples live as long
    retention = timedelta(hours=24)
    fetch_limit = 50
    result_hosts = frozenset(
        {"acedata.cloud", "storage.fonedis.cc", "cdn.midjourney.com", "cdn.discordapp.com", "media.discordapp.net"}
    )

    def __init__(self, settings: Settings) -> None:
        secret = settings.acedatacloud_api_token
        token = secret.get_secret_value().strip() if secret else ""
        if not token:
            raise ConfigurationError(
                f"ACEDATACLOUD_API_TOKEN is not set: {TITLE} takes no request without its API token"
            )
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigurationError("ACEDATACLOUD_API_TOKEN holds a space or a sign that no token has: copy it again")
        self._api = ApiClient(
            TITLE,
            settings.acedatacloud_base_url,
            credentials={"Authorization": f"Bearer {token}"},
            codes=CODES,
            read_refusal=read_refusal,
        )

    def check(self, request: GenerationRequest) -> None:
        self._body(request)

    def submit(self, request: GenerationRequest, callback_url: str | None) -> Submission:
        answer_at_once = {"callback_url": callback_url} if callback_url else {"async": True}
        reply = self._api.post_once("/midjourney/imagine", self._body(request) | answer_at_once)
        task_id = identifier(reply.get("task_id")) if isinstance(reply, dict) else None
        if task_id is None:
            raise Uncertain(f"{TITLE} answered without a task_id, so it may have taken the request", code="no_task_id")
        return Submission(task_id)

    def parse_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:  # noqa: ARG002
        try:
            data = read_json(body)
        except ValueError:
            raise CallbackUnreadable("the body is not JSON") from None
        if not isinstance(data, dict):
            raise CallbackUnreadable("the body is JSON but not an object")
        task_id = identifier(data.get("task_id"))
        if task_id is None and data.get("task_id") is not None:
            raise CallbackUnreadable("the task_id is not an identifier")
        if not data.keys() & {"success", "error", "progress"}:
            raise CallbackUnreadable("it says neither success nor failure nor progress")
        return read_result(data, task_id)

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        if len(task_ids) == 1:
            records = [self._ask(action="retrieve", id=next(iter(task_ids)))]
        elif task_ids:
            # A page holds 12 records unless a limit is given.
            records = self._list(ids=list(task_ids), limit=len(task_ids))
        else:
            return {}
        read = [read_record(record) for record in records]
        return {found.task_id: found for found in read if found and found.task_id and found.task_id in task_ids}

    def find(self, callback_url: str) -> Outcome | None:
        seen = 0
        for _ in range(PAGES):
            records = self._list(offset=seen, limit=self.fetch_limit)
            for record in records:
                request = record.get("request") if isinstance(record, dict) else None
                if isinstance(request, dict) and request.get("callback_url") == callback_url:
                    return read_record(record)
            if not records:
                break
            seen += len(records)
        return None

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        operation, prompt = request.operation, request.prompt.strip()
        if operation not in self.operations:
            possible = ", ".join(sorted(self.operations))
            raise RequestInvalid(f"{TITLE} cannot do {operation} here, only {possible}")
        if len(prompt) > self.prompt_limit:
            raise RequestInvalid(f"the prompt has {len(prompt)} characters, {TITLE} takes at most {self.prompt_limit}")
        body = read_options(TITLE, OPTIONS, request.options)
        if prompt:
            body["prompt"] = prompt
        if operation is Operation.IMAGINE:
            if not prompt:
                raise RequestInvalid("the prompt is empty: say what the picture shall show")
            return body | {"action": "generate"}
        if request.action not in ACTIONS[operation]:
            raise RequestInvalid(f"{operation} has no action {request.action!r}, only {', '.join(ACTIONS[operation])}")
        if not request.parent.get("image_id"):
            raise RequestInvalid(f"{request.action} needs the image_id of a parent that has succeeded")
        return body | {"action": request.action, "image_id": request.parent["image_id"]}

    def _ask(self, **question: Any) -> dict[str, Any]:
        try:
            reply = self._api.query("/midjourney/tasks", question)
        except QueryFailed as error:
            if error.code == "task_not_found":
                return {}
            raise
        if not isinstance(reply, dict):
            raise QueryFailed(f"{TITLE} answered a question with JSON that is no object", code="unreadable_reply")
        return reply

    def _list(self, **filters: Any) -> list[Any]:
        items = self._ask(action="retrieve_batch", **filters).get("items")
        if not isinstance(items, list):
            raise QueryFailed(f"{TITLE} answered without a list of tasks", code="unreadable_reply")
        return items
