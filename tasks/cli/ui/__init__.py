"""What commands share: how they open the ledger, read options, print and draw.

Each module is imported by itself: those that draw bring rich, which takes longer to import than many commands need.
"""
