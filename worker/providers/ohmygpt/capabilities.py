"""What OhMyGPT's API can express, by operation.

Wire facts: ohmygptdocs.apifox.cn (the pages of the Midjourney Open API).
"""

from collections.abc import Mapping

from worker.generation import Operation
from worker.providers.capability import Capability, Prompt
from worker.providers.discord import BLEND, DESCRIBE, IMAGINE, PAN, UPSCALE, VARIATION, ZOOM
from worker.providers.options import one_of, picture

_SPEED = {"speed": one_of("relax", "fast").as_field("type", {"relax": "NORMAL", "fast": "FAST"})}


def _follow_up(*actions: str) -> Capability:
    return Capability(_SPEED, Prompt.UNUSED, actions=actions)


CAPABILITIES: Mapping[Operation, Capability] = {
    Operation.IMAGINE: Capability(IMAGINE | _SPEED),
    Operation.UPSCALE: _follow_up(*UPSCALE),
    Operation.VARIATION: _follow_up(*VARIATION),
    Operation.REROLL: _follow_up("reroll"),
    Operation.PAN: _follow_up(*PAN),
    Operation.ZOOM: _follow_up(*ZOOM),
    Operation.REGION: Capability(
        # The other images in this API are `data:` links too.
        _SPEED | {"mask": picture(links=False, files=True).as_field("base64Mask")},
        Prompt.UNUSED,
        needs=frozenset({"mask"}),
        actions=("variation_region",),
    ),
    Operation.BLEND: Capability(BLEND | _SPEED, Prompt.UNUSED, needs=frozenset({"images"})),
    Operation.DESCRIBE: Capability(DESCRIBE | _SPEED, Prompt.UNUSED, needs=frozenset({"images"})),
}
