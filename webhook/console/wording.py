"""Translates options and commands in use cases' sentences from the command line's words to the page's."""

import re
from collections.abc import Mapping

from tasks.usecases import once_only

#: option → what the form calls it
_FIELDS: Mapping[str, str] = {
    "--skip-invalid": "“Submit the others”",
    "--new-version": "“Submit changed rows as new versions”",
    "--template": "“Prompt template”",
    "--max-cost": "“Cost limit”",
    "--name": "“Name”",
    "--sheet NAME": "“Sheet”",
    "--sheet": "“Sheet”",
    "--max-submissions": "the limit of the command line",
    "--provider": "“Provider”",
    "--recipe": "“Recipe”",
    once_only.SENT_BEFORE: once_only.SENT_BEFORE.replace("request", "form"),
}
_ANY = re.compile("|".join(rf"{re.escape(one)}(?![\w-])" for one in sorted(_FIELDS, key=len, reverse=True)))


def for_people(sentence: str) -> str:
    """Return the sentence with the names that the form shows."""
    return _ANY.sub(lambda found: _FIELDS[found[0]], sentence)


#: appended to what a form did, if an earlier try may have done more
SENT_BEFORE = f"{for_people(once_only.SENT_BEFORE).capitalize()}."
