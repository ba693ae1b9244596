"""Names of settings: which ones exist, and which one a misspelled variable was meant to be."""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from worker.settings.env_file import ENV_FILE_READ
from worker.settings.settings import Settings, provider_prefixes

#: settings of libraries and the Procfile
OTHERS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    | {"HOST", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "WORKER_CONCURRENCY"}
)
#: a Kubernetes variable for a service named darkroom, such as DARKROOM_SERVICE_HOST
_OF_KUBERNETES = re.compile(r"\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")


def misspelt_settings(env: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like one of our settings but is none."""
    # Imported here, so that only this check pays for the library.
    from difflib import get_close_matches  # noqa: PLC0415

    known = setting_names()
    for name in sorted(env):
        upper = name.upper()
        if not upper.startswith(_prefixes()) or upper.removesuffix("_FILE") in known or upper == ENV_FILE_READ:
            continue
        if _OF_KUBERNETES.fullmatch(upper) or (upper.endswith("_PORT") and "://" in env[name]):
            continue
        meant = get_close_matches(upper.removesuffix("_FILE"), sorted(known), n=1)
        yield f"{name} is not a setting" + (f"; did you mean {meant[0]}?" if meant else " and has no effect")


@cache
def setting_names() -> frozenset[str]:
    return OTHERS | {name.upper() for name in Settings.model_fields}


@cache
def _prefixes() -> tuple[str, ...]:
    return ("DARKROOM_", "S3_", *(f"{prefix}_" for prefix in provider_prefixes()))
