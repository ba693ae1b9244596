"""`deploy/env.example` is what a stranger copies: it must name every setting, as it is by default."""

from pathlib import Path

from worker.settings.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "deploy" / "env.example"
#: settings of libraries and of the Procfile
OTHERS = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "HOST", "WORKER_CONCURRENCY"}
OTHERS |= {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
#: told in its comment, because it depends on the machine or would be a wrong example
DEFAULT_IN_WORDS = {"REDIS_URL", "DARKROOM_DATA"}


def example() -> dict[str, str]:
    lines = (line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_example_names_every_setting_and_no_other() -> None:
    assert set(example()) - OTHERS == {name.upper() for name in Settings.model_fields}


def test_the_example_says_the_defaults() -> None:
    for name, field in Settings.model_fields.items():
        if name.upper() not in DEFAULT_IN_WORDS:
            assert example()[name.upper()] == as_text(field.default), name


def as_text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default).removesuffix(".0")
