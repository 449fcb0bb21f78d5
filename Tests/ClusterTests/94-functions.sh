# Functions: libraries of every language, and parallel functions over real ranks.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What writers of native functions include.
export VINE_INCLUDE=$root/Sources/CVineHost/include VINE_FORTRAN=$root/Sources/CVineHost

test_function_threads_run_gangs_beside_their_loops() {
    need mpicc mpirun
    local status=0 round
    mpicc -Wall -Wextra -Werror -O1 -I"$VINE_INCLUDE" -I"$root/Sources/CMPI" -o gang \
        "$tests/Functions/gang.c" "$root"/Sources/CVineHost/*.c -ldl -lpthread
    mpicc -shared -fPIC -I"$VINE_INCLUDE" -o parallel.so "$tests/Functions/parallel.c"
    for round in 1 2 3; do
        mpirun -n 4 ./gang "$PWD/parallel.so" >said 2>&1 || status=$?
        ((status != 77)) || skip "this MPI has no MPI_THREAD_MULTIPLE"
        ((status == 0)) || { cat said; fail "round $round: status $status"; }
        sort said >sorted
        cat >expected <<-END
			rank 0: [0,2,21]; [1,4,46]; rank 1 has had enough;
			rank 1: [1,2,21]; [3,4,46]; 3;
			rank 2: [1,2,21]; [0,4,46]; 0;
			rank 3: [0,2,21]; [2,4,46]; 2;
		END
        assert_same expected sorted
    done
}
