"""What commands share: how they open the ledger, read options, print and draw.

Import each module separately: those that draw import rich, which takes longer than many commands run.
"""
