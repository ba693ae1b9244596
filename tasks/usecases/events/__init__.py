"""Events: their models, and what people and programs do with them."""
