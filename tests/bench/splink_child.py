"""Splink over a file of records, by one recipe for every set: `python splink_child.py SET.jsonl`.

Runs in an environment of its own that has Splink 5. Comparisons by the kind of field, with term frequencies;
blocking on pairs of fields; u from random pairs, m by expectation maximisation; connected components at 0.95.
It prints `record_id<TAB>cluster_id` lines. Nothing in it knows a set.
"""

from __future__ import annotations

import contextlib
import json
import sys
from importlib import import_module
from itertools import combinations

NAMES = ("given_name", "surname", "full_name", "mother_name", "org_name")
EDITED = ("birth_date", "national_id", "phone", "postcode", "street", "email", "social_id")
EXACT = (
    "house_number",
    "city",
    "state",
    "gender",
    "birth_place",
    "occupation",
    "middle_name",
    "race_ethnicity",
)
BLOCKED_MAX = 7  # fields; two of them are a blocking rule
CERTAIN_MAX = 5  # fields; three of them that agree (of three, two) are taken as a match for the prior
FILLED_MIN = 0.2  # of the records must hold a field that is compared


def main(path: str) -> None:
    """Cluster the records of a file."""
    # No dependency of this project: they are found in the environment that runs this file.
    duckdb, splink, cl = map(import_module, ("duckdb", "splink", "splink.comparison_library"))
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    filled = [
        name
        for name in (*NAMES, *EDITED, *EXACT)
        if sum(name in record["fields"] for record in records) >= FILLED_MIN * len(records)
    ]
    if {"full_name", "given_name", "surname"} <= set(filled):
        filled.remove("full_name")  # Its parts hold the same evidence.
    connection = duckdb.connect()
    columns = ", ".join(f'"{name}" VARCHAR' for name in filled)
    connection.execute(f"CREATE TABLE records (unique_id VARCHAR, {columns})")
    marks = ", ".join("?" * (len(filled) + 1))
    rows = [[one["record_id"], *(one["fields"].get(name) for name in filled)] for one in records]
    connection.executemany(f"INSERT INTO records VALUES ({marks})", rows)

    def compared(name: str) -> object:
        if name in NAMES:
            made = cl.JaroWinklerAtThresholds(name, [0.92, 0.8])
        elif name in EDITED:
            made = cl.DamerauLevenshteinAtThresholds(name, [1, 2])
        else:
            made = cl.ExactMatch(name)
        return made.configure(term_frequency_adjustments=True)

    keys = [name for name in filled if name not in ("state", "gender", "middle_name", "race_ethnicity")]
    keys = keys[:BLOCKED_MAX]
    rules = [splink.block_on(a, b) for a, b in combinations(keys, 2)]
    settings = splink.SettingsCreator(
        link_type="dedupe_only",
        comparisons=[compared(name) for name in filled],
        blocking_rules_to_generate_predictions=rules,
    )
    api = splink.DuckDBAPI(connection)
    with contextlib.redirect_stdout(sys.stderr):
        linker = splink.Linker(api.register("records"), settings, log_level=40)
        certain = [
            splink.block_on(*fields) for fields in combinations(keys[:CERTAIN_MAX], 3 if len(keys) > 3 else 2)
        ]
        linker.training.estimate_probability_two_random_records_match(certain, recall=0.8)
        linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
        for one in [name for name in ("birth_date", "surname", "full_name") if name in filled][:2]:
            linker.training.estimate_parameters_using_expectation_maximisation(splink.block_on(one))
        predicted = linker.inference.predict(threshold_match_probability=0.5)
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
            predicted, threshold_match_probability=0.95
        )
    for cluster, record in clusters.as_duckdbpyrelation().select("cluster_id, unique_id").fetchall():
        print(f"{record}\t{cluster}")


if __name__ == "__main__":
    main(sys.argv[1])
