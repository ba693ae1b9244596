"""Use cases of batches: check, submit, show."""
