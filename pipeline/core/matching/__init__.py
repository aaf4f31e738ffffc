"""Probabilistic matching: which records without a common identifier are the same person.

Pure: a clustering is a function of the set of records. Source: docs/decisions/0022-matching.md
"""
