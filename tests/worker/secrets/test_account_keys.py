"""One key or several: who they belong to, and sentences that show none of them."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.providers import PROVIDERS, account_keys, load_provider, provider_class
from worker.secrets.account_keys import read_keys, read_list, title_of
from worker.services import Services, secret_values
from worker.settings.settings import Settings, load_settings

SECRET = "sk-0123456789"
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,9}", fullmatch=True)
KEYS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters=","), min_size=1)


@given(st.lists(st.tuples(NAMES, KEYS), min_size=1, unique_by=(lambda pair: pair[0], lambda pair: pair[1])))
def test_what_was_written_is_read(pairs: list[tuple[str, str]]) -> None:
    written = " , ".join(f"{name}:{key}" for name, key in pairs)
    assert list(read_keys(written).items()) == pairs


@given(KEYS.filter(lambda key: not re.match(r"[a-z0-9][a-z0-9-]*:", key)))
def test_one_key_without_a_name_is_that_of_the_default_account(key: str) -> None:
    assert read_keys(f" {key} ") == {"default": key}


@given(st.text())
def test_any_text_is_keys_or_a_sentence(text: str) -> None:
    with suppress(ValueError):
        keys = read_keys(text)
        assert all(keys)
        assert all(keys.values())


WRONG = {
    "": "it contains no key",
    f"{SECRET},": "key 1 of 2 has no name",
    f"studio:{SECRET},": "key 2 of 2 is empty",
    f"{SECRET},other": "key 1 of 2 has no name",
    f"studio:{SECRET},{SECRET}9": "key 2 of 2 has no name",
    f"studio:{SECRET},Shop:{SECRET}9": "key 2 of 2 has no name",
    f"studio:{SECRET},studio:{SECRET}9": "two accounts are named studio",
    f"studio:{SECRET},shop:{SECRET}": "shop has the key of another account",
    f"studio:{SECRET},shop:": "key 2 of 2 is empty",
    "studio:": "key 1 of 1 is empty",
}


@pytest.mark.parametrize("setting", [name for name in WRONG if name])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_wrong_keys_are_told_at_start_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, provider: str, setting: str
) -> None:
    variable = provider_class(provider).key_setting
    monkeypatch.setenv(variable, setting)
    with pytest.raises(ConfigurationError, match=f"^{variable}: {re.escape(WRONG[setting])}") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_keys_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "keys").write_text(f"studio:{SECRET},\n shop:{SECRET}9\n")
    monkeypatch.setenv("KIE_API_KEY_FILE", str(tmp_path / "keys"))
    assert Services(load_settings()).accounts("kie") == ("studio", "shop")


def test_a_provider_without_a_key_has_one_account_that_says_what_is_missing() -> None:
    settings = Settings(mjproxy_base_url="https://mj.example")
    assert account_keys("mjproxy", settings) == {"default": None}
    assert load_provider("mjproxy", settings, "default").name == "mjproxy"
    with pytest.raises(ConfigurationError, match="KIE_API_KEY is not set"):
        load_provider("kie", settings, "default")


def test_an_account_without_a_key_is_named() -> None:
    here = Services(Settings(acedatacloud_api_token=f"studio:{SECRET}"))
    with pytest.raises(ConfigurationError, match="acedata has no key for its account shop: add it to ACEDATACLOUD_API"):
        here.provider("acedata", "shop")
    assert here.provider("acedata", "studio") is here.provider("acedata", "studio")


def test_every_key_is_kept_out_of_the_log() -> None:
    settings = Settings(
        acedatacloud_api_token="studio:first-secret-key, shop:second-secret-key",
        kie_api_key="third-secret-key",
        kie_webhook_hmac_key="fourth-secret-key, fifth-secret-key",
    )
    hidden = secret_values(settings)
    assert {f"{number}-secret-key" for number in ("first", "second", "third", "fourth", "fifth")} <= set(hidden)


def test_a_list_of_keys_without_names() -> None:
    assert read_list("one, two") == ("one", "two")
    with pytest.raises(ValueError, match="one of its keys is empty"):
        read_list("one,,two")


def test_only_who_has_several_keys_is_told_of_accounts() -> None:
    assert [title_of("kie", name) for name in ("default", "shop")] == ["kie", "kie, account shop"]
