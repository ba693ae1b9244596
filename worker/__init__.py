"""The engine: what Darkroom knows and owns. Celery, the receiver and the command line are its users."""
