"""`--test`: what is submitted is a test."""

import click

test_option = click.option(
    "--test",
    "is_test",
    is_flag=True,
    help="Submit a test: the sandbox makes it, no provider is asked, and it costs nothing.",
)
