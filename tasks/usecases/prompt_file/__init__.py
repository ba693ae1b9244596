"""A file of prompts: bytes in, entries out, each with its place; and what looks odd in a prompt."""

from tasks.usecases.prompt_file.entries import read_entries, read_file
from tasks.usecases.prompt_file.odd_prompts import oddities_of

__all__ = ["oddities_of", "read_entries", "read_file"]
