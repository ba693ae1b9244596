"""deploy/SANDBOX.md says what the code does: its tables are compared with it, its commands are run."""

import re
import shlex
from pathlib import Path

import pytest
import urllib3

from tests.webhook.sandbox.helpers import Receiver, until
from tests.webhook.sandbox.test_command import pasted
from webhook.sandbox import Options, command, running
from webhook.sandbox.app import DIALECTS, create_app
from webhook.sandbox.engine import Engine
from webhook.sandbox.faults import KNOBS
from webhook.sandbox.keys import WORDS
from webhook.sandbox.mjproxy.variants import LATE, Variant

GUIDE = (Path(__file__).parents[3] / "deploy/SANDBOX.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (\S.*)", GUIDE.replace("\\\n", " "), flags=re.MULTILINE)


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this header, without backticks around a whole cell."""
    table = GUIDE.partition(f"| {header} |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert table, f"no table begins with {header}"
    return [
        [cell.strip().removeprefix("`").removesuffix("`") for cell in line.strip("|").split(" | ")] for line in table
    ]


def routes() -> set[tuple[str, str]]:
    """Blueprint and `METHOD path` of everything but the files of the results."""
    engine = Engine(Options())
    rules = list(create_app(engine).url_map.iter_rules())
    engine.stop()
    found = set()
    for rule in rules:
        blueprint = rule.endpoint.partition(".")[0]
        if blueprint != "downloads":
            (method,) = rule.methods - {"HEAD", "OPTIONS"}
            path = rule.rule.removeprefix("/<any('mj-relax', 'mj-fast', 'mj-turbo'):mode>")
            found.add((blueprint, f"{method} {path.replace('<', '{').replace('>', '}')}"))
    return found


def test_its_table_of_endpoints_is_that_of_the_routes():
    told = [(name, endpoint) for name, endpoint, _ in rows("provider | endpoint | what it does")]
    assert len(set(told)) == len(told)
    assert {*told} == {one for one in routes() if one[0] != "control"}


def test_its_table_of_pages_is_that_of_the_routes():
    told = [endpoint for endpoint, _ in rows("page | what it has")]
    assert len({*told}) == len(told)
    assert {*told} == {endpoint for blueprint, endpoint in routes() if blueprint == "control"}


def test_it_has_every_fault_key_and_variant():
    assert [knob for knob, _ in rows("fault | what goes wrong")] == list(KNOBS)
    for word in (*WORDS, *(f"proxy:{one}" for one in (*Variant, LATE))):
        assert f"`{word}`" in GUIDE


def test_it_names_the_field_for_the_callback_and_the_address_that_is_replaced():
    told = {name: field for name, field, _ in rows("provider | field | how it calls back")}
    assert told == {dialect.name: dialect.example.callback_field for dialect in DIALECTS}
    for dialect in DIALECTS:
        assert dialect.instead_of.partition("https://")[2] in GUIDE


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("darkroom sandbox")])
def test_its_commands_that_start_it_are_understood(line: str):
    command.sandbox.make_context("sandbox", shlex.split(line)[2:])


def test_its_other_commands_are_answered(http: urllib3.PoolManager, receiver: Receiver):
    lines = [line for line in COMMANDS if line.startswith("curl")]
    assert len(lines) == 6
    with running(delay=0, size=16) as served:
        for line in lines:
            here = line.replace("http://127.0.0.1:9000", served.url).replace(command.RECEIVER, receiver.url)
            assert pasted(http, here).status == 200, line
            if "sandbox:duplicate" in line:
                until(lambda: len(receiver.bodies) == 1 + 3)
