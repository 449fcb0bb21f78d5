#!/bin/sh
# Makes libpendulum.so beside its source. VINE_INCLUDE: where vine_function.h is.
cd "$(dirname "$0")" || exit
exec "${CC:-cc}" -O2 -shared -fPIC -I "${VINE_INCLUDE:-../../Sources/CVineHost/include}" \
    -o libpendulum.so pendulum.c -lm
