"""The page to which somebody returns after the login is one of ours, whatever the address says."""

import re
from urllib.parse import urljoin, urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from webhook.console.letting_in import own_path


@given(st.text() | st.from_regex(r"[/\\]{1,3}[\w.:@?#\t/\\ %-]*", fullmatch=True))
@example("/..//evil.example")
@settings(max_examples=examples(1000))
def test_whatever_is_asked_for_the_way_stays_on_this_host(given_target: str) -> None:
    target = own_path(given_target)
    # As browsers read it.
    read = re.sub(r"[\t\r\n]", "", target.strip()).replace("\\", "/")
    assert urlsplit(urljoin("http://darkroom.test/login", read)).netloc == "darkroom.test"
    assert read[:1] == "/"
    assert read[:2] != "//"
    assert own_path(target) == target
