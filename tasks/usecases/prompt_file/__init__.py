"""Parses prompt files into entries with their positions, and warns about suspicious prompts."""

from tasks.usecases.prompt_file.entries import read_entries, read_file
from tasks.usecases.prompt_file.odd_prompts import oddities_of

__all__ = ["oddities_of", "read_entries", "read_file"]
