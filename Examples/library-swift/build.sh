#!/bin/sh
# Makes libprimes.so beside its source, with Swift's runtime in it. VINE_INCLUDE: where
# vine_function.h is.
cd "$(dirname "$0")" || exit
# In the source tree, and below an installation's share/vine-mpi/Examples.
header=../../Sources/CVineHost/include
[ -e "$header/vine_function.h" ] || header=../../../../include
exec "${SWIFTC:-swiftc}" -O -emit-library -static-stdlib -parse-as-library \
    -import-objc-header "${VINE_INCLUDE:-$header}/vine_function.h" \
    -Xlinker --exclude-libs -Xlinker ALL -o libprimes.so primes.swift
