"""A result link in an odd shape makes no success unreadable, and what signs it stays as it is."""

import pytest

from worker.errors import CallbackUnreadable
from worker.providers.reading import link


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("https://a.example/x.png?ex=1&hm=%2F&", "https://a.example/x.png?ex=1&hm=%2F&"),
        ("https://a.example/灯塔.png", "https://a.example/灯塔.png"),
        ("https://a.example/a red hat.png?sig=a b", "https://a.example/a%20red%20hat.png?sig=a%20b"),
        (" \t\r\nhttps://a.example/x.png \n", "https://a.example/x.png"),
        ("\ufeffhttps://a.example/x.png\u200b\xa0", "https://a.example/x.png"),
        ("https://a.example/x\r\n\t.png", "https://a.example/x.png"),
        ("https://a.example/x\xa0y\u3000z", "https://a.example/x%C2%A0y%E3%80%80z"),
        ("HTTPS://A.Example/X.png", "HTTPS://A.Example/X.png"),
        ("https://bücher.example:8443/ü?q=ü", "https://xn--bcher-kva.example:8443/ü?q=ü"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]/x"),
    ],
)
def test_what_no_link_can_carry_is_cut_or_encoded_and_nothing_else(sent: str, read: str) -> None:
    assert link(sent).url == read


@pytest.mark.parametrize(
    "sent",
    ["", " ", "x.png", "ftp://a.example/x", "javascript:alert(1)", "https://", "https:///x", "https://a.example/\x00x",
     "https://a.example/\ud800", "https://" + "ü" * 80 + ".example/", None, 7, ["https://a.example/x"]],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(sent: object) -> None:
    with pytest.raises(CallbackUnreadable):
        link(sent)
