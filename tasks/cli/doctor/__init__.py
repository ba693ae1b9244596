"""`darkroom doctor`: its command and its checks; `darkroom up` asks about the broker before it starts anything."""

from tasks.cli.doctor.checks import examine_broker
from tasks.cli.doctor.command import doctor
from tasks.cli.doctor.finding import Verdict

__all__ = ["Verdict", "doctor", "examine_broker"]
