"""`darkroom mcp`: tools for AI agents."""

import click

from tasks.cli.ui.context import open_services
from tasks.mcp import serve


@click.command()
def mcp() -> None:
    """Serve tools for AI agents (Model Context Protocol).

    The agent's program starts it and talks to it over standard input and output. The tools are generate, get, list and
    spend. Repeated calls with the same client_key return the same generation, which is paid for once. Requires the
    extra `darkroom[mcp]`.
    """
    with open_services() as here:
        serve(here)
