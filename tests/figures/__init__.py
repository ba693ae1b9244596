"""What was measured last, and the tables of it in README.md and deploy/PERFORMANCE.md."""
