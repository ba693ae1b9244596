"""`--test`: what is submitted is a test."""

import click

test_option = click.option(
    "--test",
    "is_test",
    is_flag=True,
    help="Submit a test, which the sandbox makes: no provider is called, and it costs nothing.",
)
