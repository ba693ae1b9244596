"""Detects what spreadsheets do to text that looks like a number, a date or a time."""

import re

#: the form that only spreadsheets write; 4e12 could be the beginning of a hash
_SCIENTIFIC = re.compile(r"[1-9](?:[.,][0-9]+)?E\+[0-9]{2,3}")
_MONTHS = "jan|feb|mar|mrz|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_DATE = re.compile(
    rf"[0-9]{{1,2}}[-. /]+(?:{_MONTHS})[a-z]*\.?(?:[-. /]+[0-9]{{2,4}})?"
    rf"|(?:{_MONTHS})[a-z]*\.?[-. /]+[0-9]{{2,4}}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9:]+)?|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}",
    re.IGNORECASE,
)
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(:00)?( ?[AaPp][Mm])?")
_RATIO = re.compile(r"[1-9][0-9]*:[1-9][0-9]*")
#: how spreadsheets write the error of a formula, in English, German, French and Spanish
_ERROR = re.compile(
    r"#¡?(REF|VALUE|NULL|NUM|DIV/0|SPILL|CALC|BEZUG|WERT|ZAHL|VALEUR|NOMBRE|NUL|VALOR)!|#¿?(NAME|NOM|NOMBRE)\?|#N/[AD]|#NV"
)
ERROR_CELL = "an error such as #REF! or #N/A: correct the formula"
_AS_TEXT = "format the column as text and enter it again"


def damage_in_key(key: str) -> str | None:
    """Return what a spreadsheet turned a key into; None if the key may be intact."""
    if _SCIENTIFIC.fullmatch(key):
        return f"{key} is a long number that a spreadsheet shortened, so digits are lost: {_AS_TEXT}"
    return None


def damage_in_option(name: str, value: str) -> str | None:
    """Return what a spreadsheet turned an option's value into."""
    if _DATE.fullmatch(value):
        return f"{value} is a date that a spreadsheet made from what was entered, such as 16:9 or 8.1: {_AS_TEXT}"
    if name == "aspect_ratio" and not _RATIO.fullmatch(value) and (time := _TIME.fullmatch(value)):
        ratio = f"{int(time[1])}:{int(time[2])}"
        return (
            f"{value} is a time that a spreadsheet made from the ratio {ratio}: format the column as text and enter "
            f"{ratio}"
        )
    return None


def is_error(text: str) -> bool:
    """Return whether the cell is a formula error, as spreadsheets write it to CSV."""
    return _ERROR.fullmatch(text) is not None


def made_of(kind: str, text: str) -> str:
    """Return the error for a cell that is a date or a time in the spreadsheet itself."""
    return f"{text} is a {kind} that the spreadsheet made from what was entered: {_AS_TEXT}"


class LeadingZeros:
    """Finds keys that have lost their leading zeros among others that have them."""

    def __init__(self) -> None:
        self._shortest: tuple[int, str, int] | None = None

    def note(self, key: str, line: int) -> None:
        is_padded = len(key) > 1 and key[0] == "0" and key.isdigit()
        if is_padded and (self._shortest is None or len(key) < self._shortest[0]):
            self._shortest = (len(key), key, line)

    def lost_in(self, key: str) -> str | None:
        if self._shortest is None or not key.isdigit() or key[0] == "0" or len(key) >= self._shortest[0]:
            return None
        _, example, line = self._shortest
        return f"has {key} lost its leading zeros? The key on line {line} is {example}: {_AS_TEXT}"
