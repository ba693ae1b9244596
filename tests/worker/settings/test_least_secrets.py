"""A process that listens knows no secret that it does not need."""

from pathlib import Path

import pytest

from tasks.usecases.notify_address import notify_address
from tests.clock import FakeClock
from worker.errors import RequestInvalid
from worker.services import Services
from worker.settings import api_environment, load_settings, receiver_environment
from worker.settings.settings import account_key_names, secret_names
from worker.subscribers import NotifyAddress

SECRET = "1234567890abcdef1234567890abcdef"


def everything(tmp_path: Path) -> dict[str, str]:
    """Each secret setting, by its value or in a file."""
    (tmp_path / "keys").write_text(f"shop:{SECRET}")
    return {
        **dict.fromkeys(secret_names(), SECRET),
        "KIE_API_KEY": f"studio:{SECRET}1,shop:{SECRET}2",
        "ohmygpt_api_key_file": str(tmp_path / "keys"),
        "OHMYGPT_API_KEY": "",
        "DARKROOM_NOTIFY_URLS_FILE": str(tmp_path / "keys"),
        "AWS_SECRET_ACCESS_KEY": "of the bucket",
        "DATABASE_URL": "postgresql://me@127.0.0.1/ledger",
        "PUBLIC_URL": "https://darkroom.example",
        "PATH": "/bin",
    }


def test_the_receiver_has_the_keys_of_callbacks_alone(tmp_path: Path) -> None:
    least = receiver_environment(everything(tmp_path))
    assert set(least) == {"DARKROOM_SIGNING_KEYS", "DATABASE_URL", "PUBLIC_URL", "PATH"}


def test_the_api_has_the_bucket_the_keys_of_links_and_none_of_a_provider_or_a_subscriber(tmp_path: Path) -> None:
    least = api_environment(everything(tmp_path))
    assert [name for name, value in least.items() if SECRET in value] == ["DARKROOM_SIGNING_KEYS"]
    assert str(tmp_path) not in str(least)
    assert set(least) == {
        *account_key_names(),
        "DARKROOM_NOTIFY_SECRET",
        "DARKROOM_SIGNING_KEYS",
        "AWS_SECRET_ACCESS_KEY",
        "DATABASE_URL",
        "PUBLIC_URL",
        "PATH",
    }
    # What has become of it in one process is good for its child.
    assert api_environment(least) == least


def test_the_api_knows_the_names_of_the_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in api_environment(everything(tmp_path)).items():
        monkeypatch.setenv(name, value)
    here = Services(load_settings(), FakeClock())
    assert here.accounts("kie") == ("studio", "shop")
    assert here.accounts("ohmygpt") == ("shop",)
    assert here.provider("kie", "shop").name == here.provider("kie").name == "kie"


@pytest.mark.parametrize("name", ["DARKROOM_NOTIFY_SECRET", "DARKROOM_NOTIFY_SECRET_FILE"])
def test_the_api_takes_notify_addresses_if_the_workers_can_sign(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://shop.example.com/hooks"
    for given, value in api_environment({name: str(tmp_path / "secret"), "PATH": "/bin"}).items():
        monkeypatch.setenv(given, value)
    assert notify_address(load_settings(), url) == NotifyAddress(url)
    monkeypatch.delenv("DARKROOM_NOTIFY_SECRET")
    with pytest.raises(RequestInvalid, match="needs DARKROOM_NOTIFY_SECRET"):
        notify_address(load_settings(), url)
    assert api_environment({"PATH": "/bin", name: ""}).get("DARKROOM_NOTIFY_SECRET", "") == ""


@pytest.mark.parametrize(
    "wrong", [{"KIE_API_KEY": "a:1,b"}, {"KIE_API_KEY_FILE": "/missing"}, {"KIE_API_KEY": "two,keys"}]
)
def test_keys_that_are_wrong_stay_to_be_refused(wrong: dict[str, str]) -> None:
    assert api_environment({"PATH": "/bin", **wrong}) == {"PATH": "/bin", **wrong}
