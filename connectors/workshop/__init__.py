"""The workshop for rejected touchpoints: in groups, with a fix that is tried on all, sent again once.

`fix` is the language of fixes, `judging` says what the intake would say, `letters` reads and sends.
"""
