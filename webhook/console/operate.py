"""Operate."""

from flask import Blueprint

from webhook.console.desk import Desk


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the pages below `/operate`."""
