"""`deploy/systemd`: the Procfile's command lines, secrets as credentials, and units that systemd understands."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployed import is_of_procfile, reads_secrets_from_files, unknown_settings
from worker.runtime.shutdown import LAST_SECONDS

FOLDER = Path(__file__).parents[1] / "deploy" / "systemd"
DROP_IN = FOLDER / "darkroom-.service.d" / "50-darkroom.conf"
UNITS = {path.name.removeprefix("darkroom-").partition(".")[0].rstrip("@"): path for path in FOLDER.glob("*.service")}
#: what a unit is called elsewhere
SERVICES = {"release": "migrate", "web": "receiver", "api": "api", "worker": "worker", "clock": "clock"}
#: more than these are hardening that somebody has taken away
EXPOSURE = 2.0

each = pytest.mark.parametrize("name", UNITS)


def values(name: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNITS[name].read_text(encoding="utf-8"), re.MULTILINE)


def environment(name: str) -> dict[str, str]:
    return dict(one.split("=", 1) for line in values(name, "Environment") for one in shlex.split(line))


@each
def test_command_lines_are_the_procfiles(name: str) -> None:
    assert set(UNITS) == set(SERVICES)
    (line,) = values(name, "ExecStart")
    shell, option, command = shlex.split(line)
    assert (shell, option) == ("/bin/sh", "-c")
    # systemd takes two for one of each, and one % for the beginning of a specifier.
    assert not re.search(r"(?<!%)(%%)*%(?!%)", command)
    assert is_of_procfile(SERVICES[name], command.replace("$$", "$").replace("%%", "%")), command


@each
def test_settings_exist_and_secrets_are_credentials(name: str) -> None:
    env = environment(name)
    assert unknown_settings(env) == set()
    assert reads_secrets_from_files(env)
    files = {value.removeprefix("%d/") for variable, value in env.items() if variable.endswith("_FILE")}
    assert files == {one.partition(":")[0] for one in values(name, "LoadCredential")}


def test_the_receiver_has_neither_the_keys_of_providers_nor_of_the_bucket() -> None:
    assert {variable for variable in environment("web") if variable.endswith("_FILE")} == {
        "DATABASE_URL_FILE",
        "REDIS_URL_FILE",
        "DARKROOM_SIGNING_KEYS_FILE",
    }


def test_it_is_started_after_the_tables_are_there_restarted_and_given_time_to_stop() -> None:
    for name in UNITS.keys() - {"release"}:
        assert values(name, "Requires") == ["darkroom-release.service"]
        assert "darkroom-release.service" in values(name, "After")[0]
        assert values(name, "Restart") == ["always"]
        assert UNITS[name].name.endswith("@.service")
    stop = re.search(r"^TimeoutStopSec=(\d+)$", DROP_IN.read_text(encoding="utf-8"), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > LAST_SECONDS


@pytest.mark.system
@each
def test_systemd_understands_it_and_finds_little_that_it_may_do(name: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    env = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    unit = UNITS[name].name
    for command in (
        ["verify", "--man=no", unit.replace("@.", "@1.")],
        ["security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(tmp_path / unit)],
    ):
        done = subprocess.run(["systemd-analyze", *command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
