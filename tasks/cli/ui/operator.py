"""Who uses the command line, for the record."""

import os
import pwd
import socket


def who() -> str:
    """The user of the operating system, and the machine; LOGNAME could be anybody's."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers often run under a number that nobody has.
        name = f"uid {os.getuid()}"
    return f"{name} on {socket.gethostname()}"
