"""What needs a program of the distribution, or the history, beside it; `make test-system`, not a part of `make test`."""
