"""The console (`/`): what people can do at the command line, in a browser.

One file per page: each page shows what a use case returns, and each form calls one. `guard.py` decides who gets in.
"""

from webhook.console.blueprint import console
from webhook.console.problems import problem_page

__all__ = ["console", "problem_page"]
