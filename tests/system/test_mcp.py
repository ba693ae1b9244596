"""`darkroom mcp` and a client of the protocol's own library, over standard input and output."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters

from tests.computer import DARKROOM
from tests.patience import patient
from worker.ledger import Ledger

pytestmark = pytest.mark.system

ASKED = {"client_key": "the hat", "prompt": "a hat"}


@pytest.fixture
def ask(sqlite_url: str, migrated_file: Path, tmp_path: Path) -> Callable[..., None]:
    """Start the command as an agent's program does, and talk to it until `story` ends."""

    def talk(story: Callable[[Client], Awaitable[None]]) -> None:
        env = {"DARKROOM_DATA": str(tmp_path), "ACEDATACLOUD_API_TOKEN": "any", "REDIS_URL": "redis://127.0.0.1:1/0"}
        command = StdioServerParameters(command=str(DARKROOM), args=["mcp"], env=env, cwd=tmp_path)

        async def main() -> None:
            async with Client(command) as client:
                await story(client)

        # In a thread of its own: where a browser runs, Playwright's event loop has this one.
        with start_blocking_portal() as portal:
            portal.call(main)

    return talk


@pytest.fixture
def ledger(sqlite_url: str, ask: object) -> Any:
    with closing(Ledger(sqlite_url)) as ledger:
        yield ledger


def test_the_tools_are_described_and_answer_with_documents(ask: Callable[..., None], ledger: Ledger) -> None:
    async def story(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"generate", "get", "list", "spend"}
        assert tools["generate"].input_schema["required"] == ["client_key", "prompt"]
        assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
        made = await client.call_tool("generate", ASKED)
        assert made.structured_content is not None
        assert made.structured_content["next"].startswith("running; call `get` with the id gen_")
        found = await client.call_tool("get", {"id": made.structured_content["id"]})
        assert found.structured_content is not None
        assert found.structured_content["state"] == "queued"
        listed = await client.call_tool("list", {"key": "the*", "limit": 5})
        assert listed.structured_content is not None
        assert [one["key"] for one in listed.structured_content["data"]] == ["the hat"]
        spent = await client.call_tool("spend", {})
        assert spent.structured_content is not None
        assert spent.structured_content["caps"] == []

    ask(story)
    assert [one.key for one in ledger.generations.page()] == ["the hat"]


def test_a_mistake_is_told_to_the_agent_and_nothing_is_created(ask: Callable[..., None], ledger: Ledger) -> None:
    async def story(client: Client) -> None:
        for arguments, words in (
            ({"prompt": "a hat"}, "client_key"),
            (ASKED | {"version": "7"}, "Extra inputs are not permitted"),
            (ASKED | {"options": {"speed": "warp"}}, "option speed: invalid value 'warp'"),
            (ASKED | {"provider": "nobody"}, "unknown provider 'nobody'"),
        ):
            refused = await client.call_tool("generate", arguments)
            assert refused.is_error
            assert words in refused.content[0].text  # type: ignore[union-attr]

    ask(story)
    assert ledger.generations.page() == []


def test_a_client_that_gives_up_and_calls_again_has_one_generation(
    ask: Callable[..., None], ledger: Ledger, tmp_path: Path
) -> None:
    """While somebody else holds the ledger, each call is answered late, and what it began goes on."""

    async def story(client: Client) -> None:
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(MCPError):
                await client.call_tool("generate", ASKED, read_timeout_seconds=0.5)
            late = await client.call_tool("generate", ASKED, read_timeout_seconds=patient(30))
            assert not late.is_error
            assert late.structured_content is not None
            assert (late.structured_content["key"], late.structured_content["id"]) == ("the hat", None)
            assert "call `generate` again in ten seconds with the same client_key" in late.structured_content["next"]
            other.execute("ROLLBACK")
        found: dict[str, Any] = {}
        with anyio.fail_after(patient(60)):
            while found.get("id") is None:
                again = await client.call_tool("generate", ASKED)
                found = again.structured_content or {}
        assert found["next"].startswith("running")

    ask(story)
    assert [one.key for one in ledger.generations.page()] == ["the hat"]
