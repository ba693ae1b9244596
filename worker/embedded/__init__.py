"""One-machine mode: everything runs as children of one command, in one data folder."""

from worker.embedded.data_folder import folder_errors, read_values, running_since, write_private
from worker.embedded.machine import Embedded, attach, embedded, is_embedded_bucket, is_stopped, procfile_commands
from worker.embedded.processes import Child, print_json_line, print_line, without_noise
from worker.embedded.servers import BUCKET, LOOPBACK, OLDEST_BROKER, free_port, http_answers
from worker.embedded.stop_signals import StopSignals

__all__ = [
    "BUCKET",
    "LOOPBACK",
    "OLDEST_BROKER",
    "Child",
    "Embedded",
    "StopSignals",
    "attach",
    "embedded",
    "folder_errors",
    "free_port",
    "http_answers",
    "is_embedded_bucket",
    "is_stopped",
    "print_json_line",
    "print_line",
    "procfile_commands",
    "read_values",
    "running_since",
    "without_noise",
    "write_private",
]
