"""A file of prompts: bytes in, entries out, each with its place."""
