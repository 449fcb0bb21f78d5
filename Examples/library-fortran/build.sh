#!/bin/sh
# Makes libheat.so beside its source. VINE_FORTRAN: the directory of vine_function.f90.
cd "$(dirname "$0")" || exit
# In the source tree, and below an installation's share/vine-mpi/Examples.
module=../../Sources/CVineHost
[ -e "$module/vine_function.f90" ] || module=../../../../include
objects=$(mktemp -d) || exit
"${FC:-gfortran}" -O2 -shared -fPIC -J "$objects" \
    -o libheat.so "${VINE_FORTRAN:-$module}/vine_function.f90" heat.f90
status=$?
rm -rf "$objects"
exit $status
