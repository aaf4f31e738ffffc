"""Segments: the definition language, its compiled form, and the state that evaluation needs.

    text → document.py (values that know their line) → parse.py → definition.py → compile.py → catalogue.py

Imports nothing, so that a facet can use `leaf.py` without the evaluator, which itself reads facets.
"""
