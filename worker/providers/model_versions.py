"""Options that Midjourney versions refuse.

AceDataCloud/MidjourneyMCP (prompts/__init__.py, tools/imagine_tools.py and core/types.py of 2026-08-18): V8.1 refuses
turbo and quality, V8.2 accepts both again; V8 (V8.0 Alpha) has no `--iw`. A provider may report such an option only
after accepting and charging it, so Darkroom refuses it before sending. Unlisted versions are not checked.
"""

from collections.abc import Mapping

#: version, newest first → what it refuses: an option, a value of one (`speed=turbo`), or a parameter without an option
Versions = Mapping[str, frozenset[str]]
MIDJOURNEY: Versions = {
    "8.2": frozenset(),
    "8.1": frozenset({"quality", "speed=turbo"}),
    "8": frozenset({"--iw"}),
    **dict.fromkeys(("7", "6.1", "6", "5.2"), frozenset()),
}
