# ruff: noqa: RUF001 - the vectors hold digits of another script
"""Recorded answers of node-cron, cronsim and an independent search (E11)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipycron.cron import CronExpression, validate_detailed

VECTORS = Path(__file__).parents[1] / "vectors"

# node-cron's names of the fields.
FIELDS = {"dayOfMonth": "day_of_month", "dayOfWeek": "day_of_week"}

HASHED = "E6: H is a field of ours"
LOCATED = "node-cron refuses the character anywhere; we name the field that holds it"
# Each line of validity.jsonl that we judge differently: our error, and why.
EXCEPTIONS = {
    "* 26,*/22,20 * H */1 *": ([], HASHED),
    "* H 20-10 7W * *": ([], HASHED),
    "21 38 11,5-17,*/9 H * 4": ([], HASHED),
    "9-2,2,28-39/1 7,4,2-13 H */2,4-7,*/1 *": ([], HASHED),
    "* * 5-14/5 * H 1": ([], HASHED),
    "22-38 */1 * 1.5 *": (["month"], LOCATED),
    "1.5 * 5-9,5-31,23 * sat": (["minute"], LOCATED),
    "1.5 */2 * L-20 * 0-3": (["second"], LOCATED),
    "50-46,*/26 22,1-6 1.5 * 1,0#2": (["day_of_month"], LOCATED),
    "26,7-50/3 32-40 * * * ١": (["day_of_week"], LOCATED),
    "58 * * * ١": (["day_of_week"], LOCATED),
    "51-59 * 0-3 ١ * sat-thu,4-3,Saturday": (["day_of_month"], LOCATED),
    "11-33,58-20 * 7-11 ١ * wed-SUN": (["day_of_month"], LOCATED),
    "34-38 ١ L-3 12,8-4,2 6": (["hour"], LOCATED),
    "56 ١ * * *": (["hour"], LOCATED),
    "34 * 11 * 9 @": (["day_of_week"], LOCATED),
    "23 @ 1 30-31 * 5": (["minute"], LOCATED),
    "53-7 17 5-15/2,15 * @ 3#3": (["month"], LOCATED),
    "* @ 21,16 * */5,6-6 4#1": (["minute"], LOCATED),
    "58,28-58,47-51 36 18,9 @ * 0-1,*/1,3-4/5": (["day_of_month"], LOCATED),
    "58 */8,22-17 1-21/2 4 ~": (["day_of_week"], LOCATED),
    "* * */2 L-10 ~ *": (["month"], LOCATED),
}


def read_vectors(name: str) -> list[dict]:
    """Return the lines of one vector file."""
    lines = (VECTORS / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "count", "day_or"),
    [
        pytest.param("next.jsonl", 1500, False, id="node-cron"),
        pytest.param("dst.jsonl", 988, True, id="cronsim"),
        pytest.param("dst-hard.jsonl", 12, True, id="where-cronsim-errs"),
    ],
)
def test_next_gives_the_recorded_instants(name, count, day_or):
    """Every line's expression fires at the recorded instants and no others."""
    vectors = read_vectors(name)
    assert len(vectors) == count
    wrong = []
    for vector in vectors:
        schedule = CronExpression(
            vector["expression"], vector["timezone"], day_or=day_or
        )
        after, found = vector["after"], []
        for _ in vector["next"] or [None]:
            after = schedule.find_next(after)
            found.append(after)
        if found != (vector["next"] or [None]):
            wrong.append((vector, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "day_or"),
    [("next.jsonl", False), ("dst.jsonl", True), ("dst-hard.jsonl", True)],
)
def test_previous_gives_the_recorded_instants_backwards(name, day_or):
    """From the last recorded instant, `find_previous` returns the others."""
    wrong = []
    for vector in read_vectors(name):
        if vector["next"] is None:
            continue
        schedule = CronExpression(
            vector["expression"], vector["timezone"], day_or=day_or
        )
        *earlier, before = vector["next"]
        found = []
        for _ in earlier:
            before = schedule.find_previous(before)
            found.insert(0, before)
        if found != earlier:
            wrong.append((vector, found))
    assert wrong == []


def test_verdicts_are_those_of_node_cron_but_for_the_listed():
    """A text is refused, in the same fields, exactly if node-cron refuses it."""
    vectors = read_vectors("validity.jsonl")
    assert len(vectors) == 500
    wrong = {}
    for vector in vectors:
        verdict = validate_detailed(vector["expression"])
        reported = [error.field for error in verdict.errors]
        expected = [FIELDS.get(name, name) for name in vector["fields"]]
        assert verdict.valid == (not reported)
        if reported != expected or verdict.valid != vector["valid"]:
            wrong[vector["expression"]] = reported
    assert wrong == {text: fields for text, (fields, _) in EXCEPTIONS.items()}
