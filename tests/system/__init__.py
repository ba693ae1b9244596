"""What needs a program of the distribution beside it; `make test-system`, not a part of `make test`."""
