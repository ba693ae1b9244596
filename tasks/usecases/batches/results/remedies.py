"""What a person can do about a generation that has no results."""

from worker.generation import Generation, State

_OF_STATE = {
    State.EXPIRED: "`darkroom batch retry` requests new links",
    State.UNCONFIRMED: "look at the provider's website whether it was made, then `darkroom resolve`",
    State.CANCELLED: "submit it again if it is still wanted",
}
_OF_REASON = {
    "charged_without_result": "ask the provider for a refund, then `darkroom batch retry`",
    "budget": "raise its budget in the price file, or wait for the next day",
    "no_credit": "top up the account at the provider, then `darkroom resume`",
}
#: parts of providers' words for a prompt that they refuse
_MODERATION = ("banned", "moderat", "sensitive", "forbidden", "nsfw", "policy")


def remedy_of(generation: Generation) -> str | None:
    """Return what to do, as a sentence without a subject; None if there is nothing to do."""
    reason = generation.reason or ""
    if generation.state in {State.FAILED, State.QUEUED} and reason in _OF_REASON:
        return _OF_REASON[reason]
    if generation.state is State.FAILED and any(word in reason.lower() for word in _MODERATION):
        return "change the prompt and submit the row again with --new-version"
    if generation.state is State.FAILED:
        return "`darkroom batch retry` submits it again; if it fails again, change the row"
    return _OF_STATE.get(generation.state)
