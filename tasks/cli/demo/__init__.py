"""`darkroom demo`: its command, its requests, and its result."""

from tasks.cli.demo.command import demo

__all__ = ["demo"]
