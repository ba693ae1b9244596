"""What a token allows; the command that creates tokens uses the same scopes."""

from tasks.usecases.tokens import Scope

__all__ = ["Scope"]
