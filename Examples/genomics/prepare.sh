#!/bin/sh
# usage: prepare.sh REFERENCE.fa.gz > reference.fa
#
# Gives the one sequence a name that VCF allows, on one line, and plants three
# changes in it. The reads come from the very strain of this reference, so that
# without the changes there would be no variant to find; with them, the calls
# must show the original bases at 251, 500 and 750.
set -eu
gzip -dc "$1" | awk '
    BEGIN { planted["A"] = "C"; planted["C"] = "A"; planted["G"] = "T"; planted["T"] = "G" }
    /^>/ { next }
    { sequence = sequence toupper($0) }
    END {
        split("251 500 750", position, " ")
        for (i in position) {
            p = position[i]
            sequence = substr(sequence, 1, p - 1) planted[substr(sequence, p, 1)] \
                substr(sequence, p + 1)
        }
        print ">ecoli_1K"
        print sequence
    }'
