"""`python -m webhook.sandbox` does the same as `darkroom sandbox`."""

from webhook.sandbox.command import sandbox

if __name__ == "__main__":
    sandbox(prog_name="python -m webhook.sandbox")
