#!/usr/bin/env python3
"""usage: PYTHONPATH=MODEL check.py

Whether the model computes what it should: vectors within 1e-5 of those in reference.json, like sentences
near each other and unlike ones apart, and none of it when a weight is changed.
"""
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import embed

OUTSIDE, CAT, GUITAR = "The cat sits outside", "The feline is sitting outdoors", "A man is playing guitar"


def distance(reference):
    """The largest difference to the reference."""
    rows = embed.vectors(list(reference))
    return max(abs(a - b) for row, one in zip(rows.tolist(), reference.values()) for a, b in zip(row, one))


def main():
    embed.__dict__.update(embed.load())
    with open(os.path.join(here, "reference.json")) as file:
        reference = json.load(file)
    away = distance(reference)
    near, far = embed.similarity(OUTSIDE, CAT), embed.similarity(OUTSIDE, GUITAR)
    print("largest difference %.1e, similarities %.3f and %.3f" % (away, near, far))
    if away > 1e-5 or abs(near - 0.677) > 5e-4 or abs(far - 0.036) > 5e-4:
        sys.exit("the model does not compute what it should")
    name = "encoder.layer.3.attention.self.query.weight"
    embed.weights[name] = embed.weights[name].copy()
    embed.weights[name][0, :] += 0.5
    if distance(reference) <= 1e-5:
        sys.exit("a changed weight is not noticed")


main()
