"""Whole installations, and what needs the history or a program of the distribution; `make test-system`."""
