"""`python -m webhook.sandbox`: what `darkroom sandbox` does."""

from webhook.sandbox.command import sandbox

if __name__ == "__main__":
    sandbox(prog_name="python -m webhook.sandbox")
