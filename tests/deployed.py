"""What the files of `deploy/` that start processes have in common: the Procfile's command lines and known settings."""

import re
from collections.abc import Mapping

from worker.embedded.machine import procfile_commands
from worker.settings.names import setting_names

#: what servers call the Procfile's processes
NAMES = {"migrate": "release", "receiver": "web", "api": "api", "worker": "worker", "clock": "clock"}


def is_of_procfile(service: str, command: str) -> bool:
    """Whether this is the Procfile's command line for the process, however its words are laid into lines."""
    return " ".join(command.split()) == " ".join(procfile_commands()[NAMES[service]].split())


def unknown_settings(env: Mapping[str, object]) -> set[str]:
    return {name for name in env if name.removesuffix("_FILE") not in setting_names()}


def reads_secrets_from_files(env: Mapping[str, object]) -> bool:
    """Whether nothing that contains a secret is written down itself."""
    secret = re.compile(r"(_KEY|_KEYS|_TOKEN|_SECRET|DATABASE_URL|REDIS_URL)$")
    return not any(secret.search(name) for name in env)
