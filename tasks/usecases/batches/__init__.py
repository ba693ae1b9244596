"""What people and programs do with batches."""
