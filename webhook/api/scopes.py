"""What a token allows."""

from enum import StrEnum


class Scope(StrEnum):
    GENERATIONS_READ = "generations:read"
    GENERATIONS_WRITE = "generations:write"
    BATCHES_READ = "batches:read"
    BATCHES_WRITE = "batches:write"
    EVENTS_READ = "events:read"
    SPEND_READ = "spend:read"
