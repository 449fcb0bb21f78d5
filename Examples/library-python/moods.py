"""Scores texts by the words in them. The table is read once per instance, not once per call."""


def load(path):
    """The context: what it returns become globals of this module."""
    words = {}
    with open(path) as table:
        for line in table:
            word, value = line.split()
            words[word] = int(value)
    return {"words": words}


def score(path):
    """How glad the text in a file is, and how many of its words are known."""
    with open(path) as text:
        values = [words[word] for word in text.read().lower().split() if word in words]
    return {"total": sum(values), "known": len(values)}


def compare(scores, scale=1.0):
    """Which of several texts is the gladdest, and all totals."""
    totals = [one["total"] * scale for one in scores]
    return {"gladdest": totals.index(max(totals)), "totals": totals}
