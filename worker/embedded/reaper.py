"""The last resort against orphans: a small shell that briefly outlives this process and kills its children."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress

# Reads the children's process groups (`123`: started, `-123`: ended) and kills those that are left when the pipe
# closes, that is, when the parent is gone for whatever reason. PR_SET_PDEATHSIG would not do: it exists only on Linux,
# spares what the children started (pool processes keep the port open), and fires when a mere thread of the parent ends.
SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r line; do
  case $line in
    -*) left=; for group in $groups; do [ "-$group" = "$line" ] || left="$left $group"; done; groups=$left ;;
    *) groups="$groups $line" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"""
# The child registers itself with the guardian before it executes the program, so there is no unguarded window. It does
# so in a subshell, because SIGPIPE must not kill the child if the guardian is gone.
LAUNCHER = '(echo $$ >&0); exec "$@" </dev/null'


class Guardian:
    """Kills the process groups of the guarded children if this process ends without `close`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the script above
            ("/bin/sh", "-c", SCRIPT),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
            start_new_session=True,  # it must survive what ends the parent: Ctrl-C, a closed terminal
        )
        assert self._process.stdin is not None  # noqa: S101 - a fact for the type checker
        #: standard input for a child that is started with `command`, in its own session
        self.pipe = self._process.stdin

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command line that registers with the guardian, then executes `argv` without standard input."""
        return ("/bin/sh", "-c", LAUNCHER, "sh", *argv)

    def forget(self, group: int) -> None:
        """Stop guarding a process group that has ended: its number may be reused."""
        with suppress(BrokenPipeError):
            self.pipe.write(b"-%d\n" % group)

    def close(self) -> None:
        self.pipe.close()
        self._process.wait()
