"""The console as a blueprint: its guard, its pages, its files."""

from flask import Blueprint, g

from webhook.console import (
    batch_files,
    board,
    bulk,
    gallery,
    letting_in,
    lightbox,
    machinery,
    naming,
    operate,
    pictures,
    review,
    static_files,
    submitting,
)
from webhook.console.desk import Desk
from webhook.console.guard import guard
from webhook.console.once import telling
from webhook.console.problems import problem_page
from webhook.console.values import filters
from webhook.shared import Shared
from worker.services import Services

#: one file each; the order is that of the navigation
PAGES = (board, gallery, bulk, pictures, lightbox, review, operate, machinery, submitting, batch_files, letting_in)


def console(here: Services, shared: Shared) -> Blueprint:
    """Build the routes of all pages."""
    pages = Blueprint("console", __name__, template_folder="templates")
    desk = Desk(here=here, shared=shared)
    guard(pages, desk)
    pages.register_error_handler(Exception, lambda error: problem_page(error, str(g.get("request_id", ""))))
    filters(pages)
    telling(pages)
    naming.filters(pages)
    static_files.routes(pages)
    for page in PAGES:
        page.routes(pages, desk)
    return pages
