#!/bin/sh
# usage: generate.sh > workflow.json
#
# Writes a parameter sweep: 40 growth rates of the logistic map, one task each,
# and a last task that makes a table of them.
set -eu
awk 'BEGIN {
    points = 40
    print "{"
    print "  \"schema\": \"vine-workflow/1\","
    print "  \"name\": \"sweep\","
    print "  \"defaults\": {\"env\": {\"LC_ALL\": \"C\"}},"
    print "  \"categories\": {\"point\": {\"cores\": 1}},"
    print "  \"files\": {"
    print "    \"logistic.awk\": {\"path\": \"logistic.awk\"},"
    for (i = 0; i < points; i++) printf "    \"point.%02d\": {\"temp\": true},\n", i
    print "    \"table.txt\": {\"path\": \"results/table.txt\"}"
    print "  },"
    print "  \"tasks\": ["
    for (i = 0; i < points; i++) {
        rate = 2.5 + 1.5 * i / (points - 1)
        printf "    {\"id\": \"rate%02d\", \"category\": \"point\", ", i
        printf "\"command\": \"awk -v rate=%.4f -f logistic.awk > point\", ", rate
        printf "\"inputs\": [\"logistic.awk\"], "
        printf "\"outputs\": [{\"file\": \"point.%02d\", \"as\": \"point\"}]},\n", i
    }
    printf "    {\"id\": \"table\", \"command\": \"sort -n point.* > table.txt\", \"inputs\": ["
    for (i = 0; i < points; i++) printf "%s\"point.%02d\"", i ? ", " : "", i
    print "], \"outputs\": [\"table.txt\"]}"
    print "  ]"
    print "}"
}'
