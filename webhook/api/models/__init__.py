"""What the API takes and gives, as models: requests are validated by them, documents are described by them."""
