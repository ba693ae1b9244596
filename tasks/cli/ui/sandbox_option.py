"""`--test`: what is submitted is a test."""

import click

test_option = click.option(
    "--test",
    "is_test",
    is_flag=True,
    help="Submit as a test to the sandbox: no provider is called, and it costs nothing.",
)
