"""Against the examples of Amazon's documentation, and against botocore's own signer for whatever else is sent."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive.signature import signed
from worker.archive.signed_requests import NOTHING, _address

#: of "Signature Calculations for the Authorization Header", chapter "Examples"
AMAZONS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
BUCKET = "https://examplebucket.s3.amazonaws.com"
MIDNIGHT = datetime(2013, 5, 24, tzinfo=UTC)
OF_A_BODY = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
A_PUT = {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}

NAMES = st.sampled_from(
    ["Content-Type", "Content-Length", "If-None-Match", "x-amz-tagging", "x-amz-meta-a", "x-amz-meta-b"]
)
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"))
BASES = st.sampled_from(
    [
        "https://photos.s3.eu-central-1.amazonaws.com/",
        "https://S3.example.org:443/photos/",
        "https://s3.example.org:80/photos/",
        "http://127.0.0.1:9000/photos/",
        "http://[::1]:9000/photos/",
        "http://[2001:db8::1]/photos/",
    ]
)
PARAMETERS = st.dictionaries(st.sampled_from(["a", "a-b", "ab", "uploads", "prefix", "list-type"]), st.text())


@pytest.mark.parametrize(
    ("method", "path", "headers", "sha256", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9"},
            NOTHING,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            A_PUT,
            OF_A_BODY,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/?lifecycle=", {}, NOTHING, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET",
            "/?prefix=J&max-keys=2",
            {},
            NOTHING,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_of_amazons_documentation_are_signed_as_there(
    method: str, path: str, headers: dict[str, str], sha256: str, signature: str
) -> None:
    frozen = AMAZONS.get_frozen_credentials()
    whole = signed(method, BUCKET + path, headers, sha256=sha256, credentials=frozen, region="us-east-1", at=MIDNIGHT)
    assert whole["Authorization"].endswith(f"Signature={signature}")
    assert headers.items() <= whole.items()


@given(
    base=BASES,
    key=st.text(),
    query=PARAMETERS,
    headers=st.dictionaries(NAMES, VALUES),
    token=st.none() | st.just("a/session+token=="),
)
@example(base="http://127.0.0.1:9000/photos/", key="", query={"a-b": "1", "a": "2"}, headers={}, token=None)
@example(base="https://[::1]/", key="", query={}, headers={"Content-Type": "  image/png;   a=b "}, token="token")
def test_whatever_is_sent_is_signed_as_botocore_would_sign_it(
    base: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None
) -> None:
    credentials = Credentials("AKIDEXAMPLE", "a/secret+key", token)
    address = _address(base, key, query)
    theirs = AWSRequest("PUT", address, headers=headers)
    theirs.context["payload"] = OF_A_BODY
    _Known(credentials, "s3", "eu-central-1").add_auth(theirs)
    time = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed(
        "PUT",
        address,
        headers,
        sha256=OF_A_BODY,
        credentials=credentials.get_frozen_credentials(),
        region="eu-central-1",
        at=time,
    )
    assert ours == dict(theirs.headers.items())


class _Known(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return OF_A_BODY
