"""The door for AI agents: a server of the Model Context Protocol on standard input and output (`darkroom mcp`).

Its library takes half a second and 60 MB to import, and belongs to an extra: only the running command loads it.
"""

from typing import TYPE_CHECKING

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from worker.services import Services

__all__ = ["serve"]


def serve(here: "Services") -> None:
    """Serve until standard input ends. Raises ConfigurationError without the extra."""
    try:
        from tasks.mcp.server import run  # noqa: PLC0415  see above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"anyio", "mcp"}:
            raise
        raise ConfigurationError('`darkroom mcp` needs an extra: pip install "darkroom[mcp]"') from error
    run(here)
