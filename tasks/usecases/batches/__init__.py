"""Batches: what a person hands in as a file, and what becomes of it."""
