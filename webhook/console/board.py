"""The board: a row for each batch."""

from itertools import islice

from flask import Blueprint, render_template

from tasks.usecases.batches.show import list_batches
from webhook.console.desk import Desk

_SHOWN = 50


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the page `/`."""

    @pages.get("/", provide_automatic_options=False)
    def board() -> str:
        batches = list(islice(list_batches(desk.here, _SHOWN), _SHOWN))
        return render_template("console/board.html", batches=batches)
