"""The commands in the boxes of `deploy/RUNBOOK.md`, as somebody pastes them into a shell."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.computer import DARKROOM
from tests.patience import patient

RUNBOOK = Path(__file__).parents[2] / "deploy" / "RUNBOOK.md"


def recipe(name: str) -> str:
    (found,) = re.findall(rf"^```sh {name}\n(.*?)^```", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def follow(name: str, env: Mapping[str, str], **options: object) -> None:
    """Carry it out to its end; it must succeed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", recipe(name)],
        env=_with_programs(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(120),
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr


def begin(name: str, env: Mapping[str, str], log: Path, **options: object) -> "subprocess.Popen[bytes]":
    """Start one that runs until it is stopped, which its last command replaces."""
    *before, last = recipe(name).strip().splitlines()
    with log.open("ab") as output:
        return subprocess.Popen(
            ["/bin/sh", "-ec", "\n".join((*before, f"exec {last}"))],
            env=_with_programs(env),
            stdout=output,
            stderr=output,
            **options,  # type: ignore[call-overload]
        )


def _with_programs(env: Mapping[str, str]) -> dict[str, str]:
    return {**env, "PATH": f"{DARKROOM.parent}:{env.get('PATH', '/usr/bin:/bin')}"}
