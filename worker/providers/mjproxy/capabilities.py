"""What midjourney-proxy's API can express, by operation.

Wire facts: novicezk/midjourney-proxy and trueai-org/midjourney-proxy (actions and their windows).
"""

from collections.abc import Mapping

from worker.generation import Operation
from worker.providers.capability import Capability, Prompt
from worker.providers.discord import BLEND, DESCRIBE, IMAGINE, PAN, UPSCALE, VARIATION, ZOOM
from worker.providers.options import SPEED, picture


def _follow_up(*actions: str) -> Capability:
    return Capability(prompt=Prompt.UNUSED, actions=actions)


CAPABILITIES: Mapping[Operation, Capability] = {
    Operation.IMAGINE: Capability(IMAGINE | {"speed": SPEED}),
    Operation.UPSCALE: _follow_up(*UPSCALE),
    Operation.VARIATION: _follow_up(*VARIATION),
    Operation.REROLL: _follow_up("reroll"),
    Operation.PAN: _follow_up(*PAN),
    Operation.ZOOM: Capability(prompt=Prompt.OPTIONAL, actions=(*ZOOM, "zoom_custom")),
    Operation.REGION: Capability(
        {"mask": picture(links=False, files=True)},
        Prompt.OPTIONAL,
        needs=frozenset({"mask"}),
        actions=("variation_region",),
    ),
    Operation.BLEND: Capability(BLEND, Prompt.UNUSED, needs=frozenset({"images"})),
    Operation.DESCRIBE: Capability(DESCRIBE, Prompt.UNUSED, needs=frozenset({"images"})),
}
