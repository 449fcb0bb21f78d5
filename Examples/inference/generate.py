#!/usr/bin/env python3
"""usage: generate.py LEVEL CALLS [SENTENCES] > workflow.json

The same inferences four ways; `digests` gets a line for each call, in order:

l1      each call is a task of its own that unpacks the whole environment into its sandbox
l2      the environment is unpacked once per node; each call is a fresh process
fork    a library whose context is loaded once per instance; each call in a forked child
direct  the same; calls one after another in one interpreter
"""
import json
import sys

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("l1", "l2", "fork", "direct"):
        sys.exit(__doc__)
    level, count = sys.argv[1], int(sys.argv[2])
    sentences = int(sys.argv[3]) if len(sys.argv) == 4 else 1
    workflow = {
        "schema": "vine-workflow/1",
        "name": "inference-" + level,
        "files": {
            "model.tar": {"path": "model.tar"},
            "embed.py": {"path": "embed.py"},
            "digests": {"path": "results/%s-%d.txt" % (level, sentences)},
        },
        "tasks": [],
    }
    if level != "l1":
        workflow["files"]["model"] = {"untar": "model.tar", "directory": True, "cache": "worker"}
    if level in ("l1", "l2"):
        commands(workflow, level, count, sentences)
    else:
        calls(workflow, level, count, sentences)
    json.dump(workflow, sys.stdout, indent=None if count > 100 else 2)
    print()


def commands(workflow, level, count, sentences):
    unpack = "mkdir model && tar -xf model.tar -C model && " if level == "l1" else ""
    for task in range(count):
        digest = "digest.%d" % task
        workflow["files"][digest] = {"temp": True}
        workflow["tasks"].append({
            "id": "embed %d" % task,
            "command": "%sPYTHONPATH=model exec python3 -s -B embed.py %d %d > digest"
                       % (unpack, task, sentences),
            "env": THREADS,
            "inputs": ["model.tar" if level == "l1" else "model", "embed.py"],
            "outputs": [{"file": digest, "as": "digest"}],
        })
    workflow["tasks"].append({
        "id": "gather",
        "command": "for i in $(seq 0 %d); do cat digest.$i; done > digests" % (count - 1),
        "inputs": ["digest.%d" % task for task in range(count)],
        "outputs": ["digests"],
    })


def calls(workflow, level, count, sentences):
    workflow["files"]["list"] = {"temp": True}
    workflow["libraries"] = {
        "model": {
            "language": "python",
            "module": "embed.py",
            "functions": ["embed", "gather"],
            "context": {"function": "load"},
            "environment": "model",
            "env": THREADS,
            "exec_mode": level,
            "cores": 1,
        }
    }
    for task in range(count):
        workflow["tasks"].append({
            "id": "embed %d" % task,
            "call": {"library": "model", "function": "embed", "args": [task, sentences]},
        })
    workflow["tasks"].append({
        "id": "gather",
        "call": {
            "library": "model",
            "function": "gather",
            "args": [[{"$ref": "embed %d" % task} for task in range(count)]],
        },
        "result": "list",
    })
    workflow["tasks"].append({
        "id": "lines",
        "command": "tr -d '\\\"[]' < list | tr ',' '\\n' > digests && echo >> digests",
        "inputs": ["list"],
        "outputs": ["digests"],
    })


main()
