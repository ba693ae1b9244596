"""boto3 with a part of its descriptions of services finds the same addresses as with all of them."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.session import Session

from worker.archive.service_data import load_less

STYLES = ("auto", "path", "virtual")
SETTINGS: dict[str, dict[str, str]] = {
    "plain": {},
    "elsewhere": {"AWS_ENDPOINT_URL": "https://store.example:9000"},
    "dual stack": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "fips": {"AWS_USE_FIPS_ENDPOINT": "true"},
}


def sessions() -> tuple[Session, Session]:
    whole, less = Session(), Session()
    load_less(less)
    return whole, less


def without_signature(link: str) -> str:
    return link.partition("?")[0]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "elsewhere-1"])
def test_addresses_are_those_of_boto3(monkeypatch: pytest.MonkeyPatch, region: str, setting: str) -> None:
    if region == "cn-north-1" and setting == "fips":
        pytest.skip("there are no such addresses")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in SETTINGS[setting].items():
        monkeypatch.setenv(name, value)
    sessions_of_boto3 = [boto3.Session(botocore_session=session) for session in sessions()]
    for style in STYLES:
        for bucket in ("pictures", "pictures.of.a.shop"):
            config = Config(signature_version="s3v4", s3={"addressing_style": style})
            found = [
                session.client("s3", region_name=region, config=config).generate_presigned_url(
                    "get_object", Params={"Bucket": bucket, "Key": "a/fox é.png"}
                )
                for session in sessions_of_boto3
            ]
            assert without_signature(found[1]) == without_signature(found[0])
    roles = [session.client("sts", region_name=region).meta.endpoint_url for session in sessions_of_boto3]
    assert roles[1] == roles[0]


def test_a_session_keeps_what_a_bucket_needs() -> None:
    sizes = [
        sum(len(json.dumps(loader.load_data(name))) for name in ("endpoints", "s3/2006-03-01/service-2"))
        for loader in (session.get_component("data_loader") for session in sessions())
    ]
    assert sizes[1] < sizes[0] / 10


def test_other_services_are_whole() -> None:
    whole, less = (session.get_component("data_loader") for session in sessions())
    assert less.load_service_model("sts", "service-2") == whole.load_service_model("sts", "service-2")
