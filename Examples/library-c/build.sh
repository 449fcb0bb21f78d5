#!/bin/sh
# Makes libpendulum.so beside its source. VINE_INCLUDE: where vine_function.h is.
cd "$(dirname "$0")" || exit
# In the source tree, and below an installation's share/vine-mpi/Examples.
header=../../Sources/CVineHost/include
[ -e "$header/vine_function.h" ] || header=../../../../include
exec "${CC:-cc}" -O2 -shared -fPIC -I "${VINE_INCLUDE:-$header}" \
    -o libpendulum.so pendulum.c -lm
