"""Operate: what needs a person, each with its remedy, and every remedy carried out once."""
