"""`deploy/compose.yaml`, without a daemon: the schema of compose, and our own rules (`make compose-check`)."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployed import NAMES, is_of_procfile, reads_secrets_from_files, unknown_settings
from worker.runtime.shutdown import LAST_SECONDS
from worker.services import Services, secret_values
from worker.settings.settings import load_settings

DEPLOY = Path(__file__).parents[1] / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if name in NAMES}

each = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def test_it_is_a_compose_file() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def literal(text: str) -> str:
    """What a container gets: compose takes two for one $."""
    return text.replace("$$", "$")


@each_of_ours
def test_command_lines_are_the_procfiles(name: str) -> None:
    shell, option, command = SERVICES[name]["command"]
    assert (shell, option) == ("/bin/sh", "-c")
    assert is_of_procfile(name, literal(command)), command
    assert set(OURS) == set(NAMES)


@each
def test_a_service_has_a_health_check_or_ends(name: str) -> None:
    service = SERVICES[name]
    check = service.get("healthcheck", {})
    ends = service["restart"] == "no" and check == {"disable": True}
    assert ends or check["test"][0] in {"CMD", "CMD-SHELL"}
    if name in OURS and not ends:
        assert check["test"] == ["CMD", "darkroom", "healthcheck", NAMES[name]]


@each
def test_it_waits_for_the_health_of_what_it_needs_or_its_end(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        ends = SERVICES[needed]["restart"] == "no"
        assert how == {"condition": "service_completed_successfully" if ends else "service_healthy"}, needed


@each_of_ours
def test_nothing_of_ours_starts_before_the_tables_are_there(name: str) -> None:
    assert name == "migrate" or "migrate" in SERVICES[name]["depends_on"]


@each
def test_images_are_pinned_to_a_version(name: str) -> None:
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    image = SERVICES[name]["image"]
    assert (
        image == f"darkroom:{version}" if name in OURS else re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image)
    )


@each
def test_it_may_do_little_and_no_more_memory_than_is_said(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", [])) <= {"NET_BIND_SERVICE"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[MG]", service["deploy"]["resources"]["limits"]["memory"])
    assert "/tmp" in {one.partition(":")[0] for one in service["tmpfs"]}


@each_of_ours
def test_settings_exist_and_secrets_are_files_that_it_has(name: str) -> None:
    service = SERVICES[name]
    env = service["environment"]
    assert unknown_settings(env) == set()
    assert reads_secrets_from_files(env)
    files = {Path(value).name for variable, value in env.items() if variable.endswith("_FILE")}
    assert files == set(service["secrets"])


@each
def test_what_it_names_is_defined(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    named = {one.partition(":")[0] for one in service.get("volumes", []) if not one.startswith((".", "/"))}
    assert named <= set(COMPOSE["volumes"])
    mounted = [one.partition(":")[0] for one in service.get("volumes", []) if one.startswith(".")]
    assert all((DEPLOY / one).exists() for one in mounted)


def test_nothing_is_defined_that_nobody_uses() -> None:
    for kind in ("secrets", "networks", "volumes"):
        used = {one.partition(":")[0] for service in SERVICES.values() for one in service.get(kind, [])}
        assert set(COMPOSE[kind]) <= used, kind


def test_the_data_outlives_the_containers() -> None:
    kept = {name: service["volumes"] for name, service in SERVICES.items() if name in {"postgres", "valkey", "s3"}}
    assert kept == {"postgres": ["postgres:/var/lib/postgresql"], "valkey": ["valkey:/data"], "s3": ["s3:/data"]}


def test_the_receiver_has_no_way_out_and_the_api_is_for_this_server_alone() -> None:
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert set(SERVICES["receiver"]["networks"]) <= inside
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["api"]["ports"])
    # So that it demands tokens.
    assert SERVICES["api"]["environment"]["API_HOST"] == "0.0.0.0"
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"caddy", "api"}


def test_the_receiver_has_neither_the_keys_of_providers_nor_of_the_bucket() -> None:
    assert set(SERVICES["receiver"]["secrets"]) == {"database_url", "redis_url", "signing_keys"}


def test_the_broker_drops_nothing_and_forgets_nothing() -> None:
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_there_is_time_to_stop_and_a_second_clock() -> None:
    assert all(int(service["stop_grace_period"].rstrip("s")) > LAST_SECONDS for service in OURS.values())
    assert SERVICES["clock"]["deploy"]["replicas"] == 2


def prepare(folder: Path, token: str, domain: str = "darkroom.example.com") -> "subprocess.CompletedProcess[str]":
    (folder / "prepare-compose.sh").write_text((DEPLOY / "prepare-compose.sh").read_text(encoding="utf-8"))
    return subprocess.run(
        ["/bin/sh", folder / "prepare-compose.sh", domain], input=token, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_prepared_secrets_are_all_that_the_settings_need(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(tmp_path, "a-token").returncode == 0
    secrets = tmp_path / "secrets"
    assert {f"./secrets/{file.name}" for file in secrets.iterdir()} == {
        secret["file"] for secret in COMPOSE["secrets"].values()
    }
    assert (tmp_path / ".env").read_text() == "PUBLIC_HOST=darkroom.example.com\n"
    assert secrets.stat().st_mode & 0o777 == 0o700
    for variable, value in SERVICES[name]["environment"].items():
        text = str(value).replace("/run/secrets", str(secrets)).replace("${LOG_LEVEL:-INFO}", "INFO")
        text = re.sub(r"\$\{PUBLIC_HOST:\?[^}]*\}", "darkroom.example.com", text)
        # Other tests may have left theirs.
        monkeypatch.delenv(variable.removesuffix("_FILE"), raising=False)
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text))
    settings = load_settings()
    assert Services(settings).signer
    assert settings.public_url == "https://darkroom.example.com"
    assert settings.ledger_url.endswith(f":{(secrets / 'postgres_password').read_text().strip()}@postgres/darkroom")
    assert (secrets / "valkey_conf").read_text().split()[1] in secret_values(settings)
    assert os.access(secrets / "database_url", os.R_OK)


def test_preparing_again_changes_no_secret(tmp_path: Path) -> None:
    assert prepare(tmp_path, "a-token\n").returncode == 0
    before = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert prepare(tmp_path, "another-token", "other.example.com").returncode == 0
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == before


def test_without_a_token_it_says_so_and_can_be_repeated(tmp_path: Path) -> None:
    done = prepare(tmp_path, "")
    assert done.returncode != 0
    assert "no token came from standard input: run this again" in done.stderr
    assert prepare(tmp_path, "a-token").returncode == 0
    assert (tmp_path / "secrets" / "acedatacloud_api_token").read_text() == "a-token\n"
