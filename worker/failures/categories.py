"""Why a generation came to nothing, in nine words that people and programs can act on, each with a remedy. Pure."""

import re
from collections.abc import Mapping
from enum import StrEnum

from worker.generation import State, Trouble


class Category(StrEnum):
    #: the provider's moderators refuse it
    MODERATION = "moderation"
    #: an option, the prompt's form or the operation is wrong
    PARAMETERS = "parameters"
    #: the account: its key or its balance
    CREDIT = "credit"
    #: the provider failed, or was too slow or too busy
    PROVIDER = "provider"
    NETWORK = "network"
    #: the result's link died before its bytes were stored
    LINK = "link"
    #: what the link gave is not the file that it claims to be
    CONTENT = "content"
    #: nobody knows whether it was accepted
    UNCONFIRMED = "unconfirmed"
    CANCELLED = "cancelled"


REMEDIES: Mapping[Category, str] = {
    Category.MODERATION: "change the prompt or the images: the same request would be refused again",
    Category.PARAMETERS: "correct what the message names; `darkroom providers` lists what each provider accepts",
    Category.CREDIT: "check the account's key and balance at the provider, then retry",
    Category.PROVIDER: "retry; if it happens again, use another provider",
    Category.NETWORK: "check the connection, proxy and DNS with `darkroom doctor`, then retry",
    Category.LINK: "retry, which requests new links at no cost; `darkroom at-risk` warns before links expire",
    Category.CONTENT: "look at the refused file with `darkroom accept`, or retry to fetch it again",
    Category.UNCONFIRMED: "wait, or check the provider's own history and record what you find with `darkroom resolve`",
    Category.CANCELLED: "submit it again if you want it after all",
}

# No code of one provider means something else at another.
_OF_CODE: Mapping[str, Category] = {
    **dict.fromkeys(("forbidden", "content_moderation", "24"), Category.MODERATION),
    **dict.fromkeys(
        ("bad_request", "api_not_implemented", "no_api", "request_invalid", "not_translated", "4", "400", "404", "413",
         "422"),
        Category.PARAMETERS,
    ),
    **dict.fromkeys(
        ("no_token", "invalid_token", "token_expired", "token_mismatched", "disabled", "used_up", "unauthorized",
         "insufficient_balance", "quota_not_enough", "not_configured", "401", "402", "403"),
        Category.CREDIT,
    ),
    **dict.fromkeys(
        ("failed", "api_error", "task_failed", "server_error", "timeout", "upstream_timeout", "upstream_error",
         "unknown_task", "sandbox_restarted", "task_not_found", "task_no_found", "no_task_id", "no_text", "unexpected",
         "long_list", "wrong_account",
         "too_many_requests", "rate_limited", "3", "9", "23", "30", "408", "429", "433", "455", "500", "501", "503",
         "504", "505", "not_charged", "charged_without_result"),
        Category.PROVIDER,
    ),
    **dict.fromkeys(
        ("read_timeout", "connection_lost", "unreadable_reply", "proxy", "name_not_resolved", "tls_failed",
         "connection_refused", "connect_timeout", "connection_failed", "not_sent", "input_unreadable"),
        Category.NETWORK,
    ),
    "cancelled": Category.CANCELLED,
    # Only of what is unconfirmed.
    **dict.fromkeys(("worker_lost", "time_out"), Category.UNCONFIRMED),
}  # fmt: skip
_OF_TROUBLE: Mapping[Trouble, Category] = {
    **dict.fromkeys(Trouble, Category.LINK),
    **dict.fromkeys((Trouble.NO_ANSWER, Trouble.TOO_SLOW, Trouble.BLOCKED, Trouble.UNREACHABLE), Category.NETWORK),
    Trouble.BAD_CONTENT: Category.CONTENT,
}
# What a provider says in words only, under a code for all kinds of failures.
_MODERATED = re.compile(
    r"moderat|banned|sensitive|nsfw|communit(y|ies).{0,20}(standard|guideline)|prohibited|violat|敏感|违规|违禁",
    re.IGNORECASE,
)
_INVALID = re.compile(r"invalid (parameter|value|argument)|unrecognized|参数", re.IGNORECASE)
_UNPAID = re.compile(r"insufficient|not enough (credit|balance)|余额", re.IGNORECASE)
_HTTP = re.compile(r"http_(\d{3})")


def is_known(reason: str) -> bool:
    """Whether this reason has a category of its own."""
    return reason in _OF_CODE or reason in set(Trouble)


def category_of(state: State, reason: str | None, message: str | None) -> Category | None:
    """Return why a generation in this state came to nothing; None if it did not."""
    if state is State.UNCONFIRMED:
        return Category.UNCONFIRMED
    if state is State.CANCELLED:
        return Category.CANCELLED
    if state is State.EXPIRED:
        return _OF_TROUBLE[Trouble(reason)] if reason in set(Trouble) else Category.LINK
    return _of_failed(reason or "", message or "") if state is State.FAILED else None


def _of_failed(reason: str, message: str) -> Category:
    known = _OF_CODE.get(reason)
    if known in {None, Category.PROVIDER, Category.PARAMETERS}:
        for words, category in (
            (_MODERATED, Category.MODERATION), (_INVALID, Category.PARAMETERS), (_UNPAID, Category.CREDIT),
        ):  # fmt: skip
            if words.search(message):
                return category
    if known is None and (status := _HTTP.fullmatch(reason)):
        return _OF_CODE.get(status[1], Category.PARAMETERS if status[1].startswith("4") else Category.PROVIDER)
    return known or Category.PROVIDER
