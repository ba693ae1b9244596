"""Kie.ai and its sister MidAPI: submissions to `/api/v1/mj/generate` etc., queries to `/api/v1/mj/record-info`.

Wire facts: docs.kie.ai/mj-api and docs.kie.ai/common-api (docs.midapi.ai has the same pages). Surprises: the
`code` in the body is the status, whatever HTTP says; a task may be unknown for a while after it was accepted; there is
no list, so if the reply to a submission is lost, only the callback can find it.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from worker.errors import CallbackUnreadable, QueryFailed, RequestInvalid
from worker.generation import Accepted, GenerationRequest, Link, Operation, Outcome
from worker.providers.base import Callback, Mark, Provider
from worker.providers.capability import ProviderRequest
from worker.providers.discord import task_of
from worker.providers.http import ApiClient, read_key
from worker.providers.kie.capabilities import CAPABILITIES
from worker.providers.kie.results import CODES, read_callback, read_record, read_refusal, task_id_of
from worker.providers.kie.signature import check_signature, proof_of
from worker.providers.options import listed
from worker.providers.reading import clean_text, identifier, link, read_object
from worker.providers.translation import terms_of
from worker.secrets import read_list
from worker.settings import Settings

log = logging.getLogger(__name__)

TITLE = "Kie.ai"
ROOT = "/api/v1/mj"

_REFERENCES = {"images": "mj_img2img", "style_images": "mj_style_reference", "omni_image": "mj_omni_reference"}
_INSTEAD = "Ace Data Cloud (--provider acedata) can"


class Kie(Provider):
    """Kie.ai (kie.ai). Raises ConfigurationError if its API key is missing."""

    name = "kie"
    title = TITLE
    prefix = "kie"
    key_setting = "KIE_API_KEY"
    capabilities: ClassVar = CAPABILITIES
    delivers_grids = False
    prompt_limit = 2000
    input_limit = 10 * 1024 * 1024
    #: according to the page about generating; other pages say 14 days and 24 hours
    retention = timedelta(days=15)
    renewed_retention = timedelta(minutes=20)
    fetch_limit = 1
    callback = Callback.SIGNED
    notice = (
        "its Midjourney pages have moved to Kie's old documentation (old-docs.kie.ai) and do not mention V8, so it may "
        "be discontinued: set up a second provider, such as Ace Data Cloud (--provider acedata)"
    )

    def __init__(self, settings: Settings) -> None:
        key = read_key(TITLE, self.key_setting, settings.kie_api_key)
        self._api = ApiClient(
            TITLE,
            settings.kie_base_url,
            credentials={"Authorization": f"Bearer {key}"},
            codes=CODES,
            read_refusal=read_refusal,
            code_decides=True,
        )
        hmac_key = settings.kie_webhook_hmac_key
        parts = read_list(hmac_key.get_secret_value()) if hmac_key else ()
        self._hmac_keys = [read_key(TITLE, "KIE_WEBHOOK_HMAC_KEY", SecretStr(part)) for part in parts]
        self._window = timedelta(seconds=settings.kie_webhook_window)
        self._vary_base = settings.kie_vary_base
        # No page names the host of renewed links; each is allowed for its own asset.
        self.result_hosts = frozenset({"aiquickdraw.com", urlsplit(settings.kie_base_url).hostname or ""})
        if not self._hmac_keys:
            self.callback = Callback.UNSIGNED
        # A signature proves that the task has ended, but does not cover the links.
        self.must_confirm = bool(self._hmac_keys)

    def translate(self, request: GenerationRequest) -> ProviderRequest:
        path, body = self._post_of(request)
        return ProviderRequest(operation=request.operation, action=request.action, path=ROOT + path, body=body)

    def submit(self, request: ProviderRequest, mark: Mark) -> Accepted | Outcome:
        call_back = {"callBackUrl": mark.callback_url} if mark.callback_url else {}
        reply = self._api.post_once(request.path, {**request.body, **call_back})
        data = reply.get("data") if isinstance(reply, dict) else None
        task_id = identifier(data.get("taskId")) if isinstance(data, dict) else None
        return self._taken(task_id, "taskId")

    def parse_callback(self, headers: Mapping[str, str], body: bytes, received_at: datetime) -> Outcome:
        data = read_object(body)
        if self._hmac_keys:
            check_signature(self._hmac_keys, headers, task_id_of(data), received_at, self._window)
        return read_callback(data)

    def proof(self, headers: Mapping[str, str]) -> str | None:
        return proof_of(headers) if self._hmac_keys else None

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        records = {task_id: self._record(task_id) for task_id in task_ids}
        return {task_id: read_record(record, task_id) for task_id, record in records.items() if record is not None}

    def renew(self, link: Link) -> str | None:
        """Return a link that lives for 20 minutes."""
        try:
            renewed = _data(self._api.query("/api/v1/common/download-url", {"url": link.url}))
        except QueryFailed as error:
            if error.code in {"404", "422"}:
                return None
            raise
        return _as_link(renewed)

    def credit(self) -> str | None:
        left = clean_text(_data(self._api.get("/api/v1/chat/credit")), 40)
        if left is None:
            raise QueryFailed(f"{TITLE} replied without a number of credits", code="unreadable_reply")
        return f"{left} credits"

    def _post_of(self, request: GenerationRequest) -> tuple[str, dict[str, object]]:
        terms = terms_of(self, request)
        body = dict(terms.fields)
        if request.action is not None:
            index = int(request.action[-1]) - 1
            body["taskId"] = task_of(request)
            match request.operation:
                case Operation.UPSCALE:
                    return "/generateUpscale", body | {"imageIndex": index}
                case Operation.VARIATION:
                    return "/generateVary", body | {"imageIndex": index + self._vary_base}
            if terms.prompt:
                body |= {"taskType": "mj_video_extend_manual", "prompt": terms.prompt}
            else:
                body["taskType"] = "mj_video_extend_auto"
            return "/generateVideoExtend", body | {"index": index}
        body["prompt"] = terms.prompt
        if request.operation is Operation.VIDEO:
            is_large = terms.placed.get("video_size") == "720p"
            body["taskType"] = "mj_video_hd" if is_large else "mj_video"
            body.setdefault("motion", "high")
        else:
            body["taskType"] = _type_of_picture(request.options)
        return "/generate", body

    def _record(self, task_id: str) -> dict[str, object] | None:
        """Return the task's record; None if the task is not known (yet)."""
        try:
            record = _data(self._api.get(f"{ROOT}/record-info", taskId=task_id))
        except QueryFailed as error:
            if error.code == "408":
                log.warning("Kie.ai: task %s has been without a result for ten minutes: %s", task_id, error)
            # 408 is not final: slow tasks report it. Callers eventually abandon tasks that remain without a record.
            if error.code in {"404", "408", "422"}:
                return None
            raise
        if record is None:
            return None
        if not isinstance(record, dict):
            raise QueryFailed(f"{TITLE} replied without a record of the task", code="unreadable_reply")
        if identifier(record.get("taskId")) not in (task_id, None):
            log.warning("Kie.ai: the reply to a query for task %s is about another task", task_id)
            return None
        return record


def _type_of_picture(options: Mapping[str, object]) -> str:
    """Return the task type, which has one kind of reference. Raises RequestInvalid for incompatible options."""
    given = tuple(name for name in _REFERENCES if name in options)
    if len(given) > 1:
        what = f"{TITLE} accepts only one of {listed(given)} at a time; {_INSTEAD} combine them"
        raise RequestInvalid(what, about=given)
    if "omni_weight" in options and "omni_image" not in given:
        what = "option omni_weight requires an omni_image: give both"
        raise RequestInvalid(what, about=("omni_weight",))
    if "speed" in options and "omni_image" in given:
        what = f"{TITLE} has no option 'speed' for a request with an omni_image; {_INSTEAD} combine them"
        raise RequestInvalid(what, about=("speed", "omni_image"))
    return _REFERENCES[given[0]] if given else "mj_txt2img"


def _data(reply: object) -> object:
    if not isinstance(reply, dict) or "data" not in reply:
        raise QueryFailed(f"{TITLE} replied with JSON without data", code="unreadable_reply")
    return reply["data"]


def _as_link(value: object) -> str:
    try:
        return link(value).url
    except CallbackUnreadable:
        raise QueryFailed(f"{TITLE} replied without a link", code="unreadable_reply") from None
