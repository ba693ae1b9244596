"""Models of the API's requests, which they validate, and of its answers, which they describe."""
