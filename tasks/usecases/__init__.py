"""What people and programs can ask for: plain functions, typed requests in, frozen results out."""
