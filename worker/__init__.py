"""The engine, used by Celery, the receiver and the command line."""
