"""What needs a program of the distribution or the history; `make test-system`, not a part of `make test`."""
