"""DARKROOM_SANDBOX_URL: no address at which somebody may be charged."""

import pytest

from worker.errors import ConfigurationError
from worker.providers import PROVIDERS, Provider, load_provider, provider_class
from worker.secrets import SANDBOX_ACCOUNT
from worker.settings.settings import load_settings, provider_prefixes


def faults(monkeypatch: pytest.MonkeyPatch, url: str, **others: str) -> str:
    for name, value in {"DARKROOM_SANDBOX_URL": url, **others}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    return str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://localhost:9000/",
        "http://[::1]:9000",
        "http://10.1.2.3",
        "http://sandbox:9000",
        "http://sandbox.internal",
        "https://192.168.1.9:9443",
    ],
)
def test_a_machine_in_a_private_network_may_be_the_sandbox(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DARKROOM_SANDBOX_URL", url)
    assert load_settings().sandbox_url == url.rstrip("/")


@pytest.mark.parametrize("host", ["api.acedata.cloud", "93.184.216.34", "134744072", "0x08080808", "[2606:4700::1]"])
def test_a_public_host_is_none(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    sentence = faults(monkeypatch, f"http://{host}:9000")
    assert sentence.startswith("DARKROOM_SANDBOX_URL")
    assert "may be a public host, which a sandbox must not be: give the address of `darkroom sandbox`" in sentence


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/mj", "http://127.0.0.1:9000?x=1", "http://me:secret@127.0.0.1:9000"]
)
def test_it_is_an_address_without_anything_behind_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    sentence = faults(monkeypatch, url)
    assert "more than a host and a port" in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize("prefix", provider_prefixes())
def test_it_is_not_the_address_of_a_provider(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Such as a relay of one's own, which asks for no key."""
    sentence = faults(monkeypatch, "http://localhost:8080", **{f"{prefix}_BASE_URL": "http://127.0.0.1:8080/relay"})
    assert sentence == (
        f"DARKROOM_SANDBOX_URL is the address of {prefix}_BASE_URL: a test must not reach a provider; change it"
    )
    monkeypatch.setenv("DARKROOM_SANDBOX_URL", "http://localhost:8081")
    load_settings()


def inside(provider: Provider) -> str:
    """All that it was made of."""
    return str([vars(part) for part in vars(provider).values() if hasattr(part, "__dict__")])


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_key_of_a_provider_goes_to_the_sandbox(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kind = provider_class(name)
    monkeypatch.setenv(kind.key_setting, "a-secret-of-the-user")
    monkeypatch.setenv("MJPROXY_BASE_URL", "http://relay.example")
    monkeypatch.setenv("DARKROOM_SANDBOX_URL", "http://127.0.0.1:9000")
    settings = load_settings()
    assert "a-secret-of-the-user" in inside(load_provider(name, settings))
    assert "a-secret-of-the-user" not in inside(load_provider(name, settings, SANDBOX_ACCOUNT))
    monkeypatch.delenv("DARKROOM_SANDBOX_URL")
    with pytest.raises(ConfigurationError, match="DARKROOM_SANDBOX_URL is not set"):
        load_provider(name, load_settings(), SANDBOX_ACCOUNT)
