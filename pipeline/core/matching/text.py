"""Spellings: what two written words have in common. It must not know which field a word comes from."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rapidfuzz.distance import OSA, JaroWinkler

from .words import VARIANT_INITIALS, VARIANTS

EXACT: Final = 0
VARIANT: Final = 1  # a nickname, or another name of the same person
INITIAL: Final = 2
CLOSE: Final = 3  # one slip of the hand, or it sounds the same
SIMILAR: Final = 4
DIFFERENT: Final = 5

SHORT_FORM_MIN: Final = 3
DIMINUTIVES: Final = ("zinho", "zinha", "inho", "inha")
LONG: Final = 8  # from so many letters on, two slips are still one word
SIMILAR_MIN: Final = 0.84  # Jaro-Winkler
_WORD: Final = re.compile(r"[^\W_]+")
_APOSTROPHES: Final = re.compile(r"['’`´]")
_SOUNDS: Final = (
    ("ph", "f"), ("sch", "x"), ("ch", "x"), ("sh", "x"), ("lh", "l"), ("nh", "n"), ("th", "t"), ("ck", "k"),
    ("qu", "k"), ("ce", "se"), ("ci", "si"), ("c", "k"), ("q", "k"), ("z", "s"), ("y", "i"), ("w", "v"),
    ("j", "g"), ("h", ""),
)  # fmt: skip


def fold(text: str) -> str:
    """Small letters without accents."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.casefold()


def split_words(text: str) -> list[str]:
    """The words of a text, folded; an apostrophe does not part a word."""
    return _WORD.findall(_APOSTROPHES.sub("", fold(text)))


def digits_of(text: str) -> str:
    """Only its digits."""
    return "".join(c for c in text if "0" <= c <= "9")


def sound(word: str) -> str:
    """A rough phonetic form, for Portuguese and English: first letter, then consonants without repetition."""
    for written, heard in _SOUNDS:
        if written in word:
            word = word.replace(written, heard)
    if not word:
        return ""
    kept = [word[0]]
    for letter in word[1:]:
        if letter not in "aeiou" and letter != kept[-1]:
            kept.append(letter)
    return "".join(kept)


def compare_words(a: str, b: str) -> int:
    """How alike two words of a name are: EXACT to DIFFERENT. Symmetric."""
    if a == b:
        return EXACT
    if len(a) == 1 or len(b) == 1:
        return INITIAL if same_initial(a, b) else DIFFERENT
    in_a = VARIANTS.get(a)
    if in_a is not None:
        in_b = VARIANTS.get(b)
        if in_b is not None and not in_a.isdisjoint(in_b):
            return VARIANT
    shortest, longest = (a, b) if len(a) < len(b) else (b, a)
    if len(shortest) >= SHORT_FORM_MIN and len(longest) >= len(shortest) + 2:
        stem = shortest
        for ending in DIMINUTIVES:
            if longest.endswith(ending) and longest[: -len(ending)] == stem.rstrip("aeio"):
                return VARIANT
        if longest.startswith(stem):
            return VARIANT
    slips = 2 if len(longest) >= LONG else 1
    if len(longest) > 2 and OSA.distance(a, b, score_cutoff=slips) <= slips:
        return CLOSE
    likeness = JaroWinkler.similarity(a, b, score_cutoff=0.75)
    if likeness >= 0.75 and sound(a) == sound(b):
        return CLOSE
    if likeness >= SIMILAR_MIN or (len(a) == len(b) and sorted(a) == sorted(b)):
        return SIMILAR
    return DIFFERENT


def same_initial(a: str, b: str) -> bool:
    """Whether two words, one of them an initial, may be one name: `W` is Bill's too. Symmetric."""
    letter, word = (a, b) if len(a) == 1 else (b, a)
    return word[0] == letter or letter in VARIANT_INITIALS.get(word, "")


def is_slip(a: str, b: str) -> bool:
    """Whether two texts differ by one character: wrong, missing, added, or two turned round."""
    return OSA.distance(a, b, score_cutoff=1) <= 1
