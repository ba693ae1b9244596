"""What people and programs can ask for, whichever door they come through."""
