"""`darkroom mcp`: tools for AI agents."""

import click

from tasks.cli.ui.context import open_services
from tasks.mcp import serve


@click.command()
def mcp() -> None:
    """Serve tools for AI agents (Model Context Protocol).

    An agent's program starts it, and talks to it over standard input and output. The tools: generate, get, list, spend.
    A repeated call with the same client_key is the same generation, and is paid for once. Needs the extra
    `darkroom[mcp]`.
    """
    with open_services() as here:
        serve(here)
