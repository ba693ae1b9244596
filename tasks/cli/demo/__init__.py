"""`darkroom demo`: its command, what it asks for, and what came of it."""

from tasks.cli.demo.command import demo

__all__ = ["demo"]
