"""Batches: files that people submit, and their results."""
