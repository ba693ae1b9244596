"""What is followed, for the commands that submit and then watch: `tasks.usecases.scope`."""

from tasks.usecases.scope import BatchScope, FamilyScope, Scope

__all__ = ["BatchScope", "FamilyScope", "Scope"]
