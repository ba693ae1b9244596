"""Who may call: all that listens on HTTP."""
