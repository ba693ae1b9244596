"""What a token allows; the command that makes tokens knows the same scopes."""

from tasks.usecases.tokens import Scope

__all__ = ["Scope"]
