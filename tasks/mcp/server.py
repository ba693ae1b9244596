"""The tools as a server of the Model Context Protocol."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import anyio
from anyio import to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools.base import Tool
from mcp.types import ToolAnnotations
from pydantic import Field, JsonValue

from tasks.mcp.tools import MOST_DAYS, MOST_LISTED, Tools
from tasks.usecases.entry_check import DEFAULT_PROVIDER
from tasks.usecases.queries import ListRequest
from worker.errors import DarkroomError
from worker.generation import State
from worker.secrets import configure_logging, redact
from worker.services import Services, secret_values

#: seconds after which a tool answers, whatever the ledger does: clients give up later, and agents then call again
ANSWER_SECONDS = 2.0

_INSTRUCTIONS = (
    "Darkroom makes Midjourney images and videos through paid providers. `generate` returns at once with an id and the "
    "state: never wait for it, and never repeat it with another client_key because a reply is late. Call `get` with "
    "the id after a minute. The same client_key is always the same generation, and is paid for once."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


def run(here: Services) -> None:
    """Serve on standard input and output until the client closes them."""
    server = build(Tools(here))
    # After the library's own: logs go to standard error, without secrets; standard output has the protocol alone.
    configure_logging(here.settings.log_level, secret_values(here.settings), here.settings.log_format)
    server.run("stdio")


def build(tools: Tools, seconds: float = ANSWER_SECONDS) -> MCPServer:
    """Return the server; `seconds`: after which a tool answers without a result."""
    served = _Served(tools, seconds)
    makes = ToolAnnotations(idempotent_hint=True, destructive_hint=False)
    return MCPServer(
        "darkroom",
        instructions=_INSTRUCTIONS,
        tools=[
            _strict(Tool.from_function(served.generate, annotations=makes)),
            _strict(Tool.from_function(served.get, annotations=_READS)),
            _strict(Tool.from_function(served.list_generations, name="list", annotations=_READS)),
            _strict(Tool.from_function(served.spend, annotations=_READS)),
        ],
    )


def _strict(tool: Tool) -> Tool:
    """Refuse unknown arguments: without an option that an agent misplaced, it would make another image."""
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters = model.model_json_schema(by_alias=True)
    return tool


class _Served:
    """The tools as agents see them: names, descriptions and types of arguments are read from the methods."""

    def __init__(self, tools: Tools, seconds: float) -> None:
        self._tools = tools
        self._seconds = seconds

    async def generate(
        self,
        *,
        client_key: Annotated[
            str,
            Field(
                description="A key that you invent for this request. Repeat it unchanged when you retry: the same "
                "key is the same generation, and is paid for once."
            ),
        ],
        prompt: Annotated[str, Field(description="A {red, blue} list makes several, which is refused.")],
        provider: Annotated[
            str, Field(description="One, or several in order of preference, separated by commas.")
        ] = DEFAULT_PROVIDER,
        operation: Annotated[
            str, Field(description="imagine, blend, edit, video, describe, shorten or translate.")
        ] = "imagine",
        options: Annotated[
            dict[str, JsonValue] | None, Field(description='Such as {"aspect_ratio": "16:9", "version": "7"}.')
        ] = None,
        follow_up: Annotated[
            str, Field(description="Actions after each success, such as upscale1,upscale3; each is paid for.")
        ] = "",
        labels: Annotated[dict[str, str] | None, Field(description='Such as {"client": "acme"}.')] = None,
    ) -> dict[str, Any]:
        """Create one generation, which costs money, and return its id and state at once, without waiting for images.

        If no answer comes in time, call it again with the same client_key and arguments: nothing is created twice.
        """
        asked = {
            "prompt": prompt,
            "provider": provider,
            "operation": operation,
            "options": options or {},
            "follow_up": follow_up,
            "labels": labels or {},
        }
        late = (
            "it is being saved, or is already saved: call `generate` again in ten seconds with the same client_key and "
            "arguments, which creates no duplicates"
        )
        return await self._answered(
            partial(self._tools.generate, client_key, asked), {"key": client_key, "id": None, "next": late}
        )

    async def get(
        self,
        id: Annotated[  # noqa: A002  agents know this word
            str, Field(description="The id that `generate` returned, or the client_key.")
        ],
    ) -> dict[str, Any]:
        """Return one generation: its state, why it waits or failed, and links to its files, which work for an hour."""
        return await self._answered(partial(self._tools.get, id))

    async def list_generations(
        self,
        *,
        state: Annotated[State | None, Field(description="Only in this state.")] = None,
        batch: Annotated[str, Field(description="Only of this batch, by its name or id.")] = "",
        key: Annotated[str, Field(description="Only with this client_key; * stands for any characters.")] = "",
        search: Annotated[str, Field(description="Only with these words in the prompt.")] = "",
        labels: Annotated[dict[str, str] | None, Field(description="Only with all these labels.")] = None,
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 20,
    ) -> dict[str, Any]:
        """List generations, the newest first."""
        request = ListRequest(
            state=state,
            batch=batch or None,
            key=key or None,
            search=search or None,
            labels=labels or {},
            limit=limit,
        )
        return await self._answered(partial(self._tools.list, request))

    async def spend(
        self,
        by: Annotated[
            str, Field(description="day, provider, batch, operation or label:NAME, or several, separated by commas.")
        ] = "day",
        days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 30,
    ) -> dict[str, Any]:
        """Return what generations cost, may still cost, and what each budget has left (`caps`)."""
        return await self._answered(partial(self._tools.spend, by, days))

    async def _answered(self, call: Callable[[], dict[str, Any]], late: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer, or `late` where it takes too long. Raises ToolError with one sentence."""
        # The thread goes on: what it writes is found by the next call.
        with anyio.move_on_after(self._seconds):
            try:
                return await to_thread.run_sync(call, abandon_on_cancel=True)
            except DarkroomError as error:
                raise ToolError(redact(str(error))) from error
        if late is None:
            raise ToolError("the ledger does not answer in time: call this tool again in ten seconds")
        return late
