"""Account keys, private files, and redaction."""

from worker.secrets.account_keys import (
    DEFAULT_ACCOUNT,
    SANDBOX_ACCOUNT,
    SANDBOX_KEY,
    key_mark,
    read_keys,
    read_list,
    title_of,
)
from worker.secrets.private_files import UMASK, make_private_folder, open_private, require_private
from worker.secrets.redaction import (
    configure_logging,
    described,
    links_hidden,
    redact,
    secrets_hidden,
    shorten_files,
    signatures_cut,
)
from worker.secrets.secret_files import bucket_credentials, read_secret_file
from worker.secrets.setting_files import read_setting_file

__all__ = [
    "DEFAULT_ACCOUNT",
    "SANDBOX_ACCOUNT",
    "SANDBOX_KEY",
    "UMASK",
    "bucket_credentials",
    "configure_logging",
    "described",
    "key_mark",
    "links_hidden",
    "make_private_folder",
    "open_private",
    "read_keys",
    "read_list",
    "read_secret_file",
    "read_setting_file",
    "redact",
    "require_private",
    "secrets_hidden",
    "shorten_files",
    "signatures_cut",
    "title_of",
]
