"""`deploy/Dockerfile`: what it copies exists, what it installs is locked, and what it runs is no root."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
#: instruction and arguments, with lines joined
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.+)$", re.sub(r"\\\n\s*", "", DOCKERFILE), re.MULTILINE)


def of(instruction: str) -> list[str]:
    return [arguments for name, arguments in INSTRUCTIONS if name == instruction]


def test_every_base_is_pinned_by_version_and_the_same() -> None:
    bases = {line.partition(" AS ")[0] for line in of("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases.pop())


def test_nothing_is_installed_without_a_hash_and_from_no_named_index() -> None:
    installs = [command for line in of("RUN") for command in line.split("&&") if "pip install" in command]
    assert len(installs) == 2
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)
    assert "http" not in "".join(of("RUN") + of("ENV"))


def test_what_it_copies_exists_and_passes_its_ignore_file() -> None:
    wanted = {name for line in of("COPY") if "--from" not in line for name in line.split()[:-1]}
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {f"!{name}" for name in wanted} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in wanted)
    assert {"worker", "tasks", "webhook", "Procfile", "requirements.lock"} <= wanted


def test_it_runs_as_a_fixed_number_asks_for_its_health_and_is_told_nothing_secret() -> None:
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert f"--uid {user.partition(':')[0]} " in "".join(of("RUN"))
    (check,) = of("HEALTHCHECK")
    assert check.endswith('CMD ["darkroom", "healthcheck"]')
    assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", "".join(of("ENV") + of("ARG")))


@pytest.mark.parametrize("words", ["amd64", "arm64", "x86", "aarch64", "platform"])
def test_it_names_no_architecture(words: str) -> None:
    assert words not in DOCKERFILE
