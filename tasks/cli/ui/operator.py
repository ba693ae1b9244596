"""Who is using the command line, for the record."""

import os
import pwd
import socket


def who() -> str:
    """Return the operating system's user and the machine; LOGNAME is not used because anyone can set it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers often run under a uid without a user name.
        name = f"uid {os.getuid()}"
    return f"{name} on {socket.gethostname()}"
