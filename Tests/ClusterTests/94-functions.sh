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

test_python_library_between_commands() {
    need python3
    example library-python
    vine 4 0 example/workflow.json
    assert_file example/results/verdict.json '{"gladdest":1,"totals":[0.0,2.5]}'
    assert_file example/results/line.txt 'the verdict: {"gladdest":1,"totals":[0.0,2.5]}'
}

pendulum() { # HOW [OPTION...]: the workflow of ./example
    local how=$1
    shift
    rm -rf run example/results/*.*
    vine "$how" 0 example/workflow.json "$@"
    assert_equal 18 "$(wc -l <example/results/periods.txt)" "lines of the table"
    assert_equal '  0 degrees   2.006067 s' "$(head -n 1 example/results/periods.txt)"
    assert_equal '170 degrees   4.893524 s' "$(tail -n 1 example/results/periods.txt)"
    assert_file example/results/longest.json 4.893524274105
}
test_c_library() {
    need cc
    example library-c
    example/build.sh
    pendulum 3
}
test_c_library_inside_ranks() {
    need cc
    example library-c
    example/build.sh
    sed -i 's/"language": "native",/& "exec_mode": "rank",/' example/workflow.json
    vine 2 2 example/workflow.json
    assert_says 'library pendulum has exec_mode "rank": start vine-mpi with --in-rank'
    vine 0 0 check example/workflow.json
    pendulum 3 --in-rank
    pendulum 2 --in-rank
    pendulum 0 --in-rank
}

test_fortran_library() {
    need gfortran
    example library-fortran
    example/build.sh
    vine 2 0 example/workflow.json
    assert_file example/results/temperatures.json '[0.0000000000,0.0000019073,0.3162903042,0.9973557018,1.0000000000]'
}

test_swift_library() {
    need swiftc
    example library-swift
    example/build.sh >said 2>&1 || { cat said; fail "cannot build it"; }
    vine 2 0 example/workflow.json
    assert_file example/results/first.json 25
    assert_file example/results/last.json 65
}

# inference HOW LEVEL...: equal digests; the archive is read from the shared directory once, and a
# library's context is set up by each instance once.
inference() {
    local how=$1 level status=0
    shift
    need python3 tar
    example inference
    example/prepare.sh >prepared 2>&1 || status=$?
    ((status != 77)) || skip "no model: $(tail -n 1 prepared)"
    ((status == 0)) || { cat prepared; fail "prepare.sh: status $status"; }
    mkdir model
    tar -xf example/model.tar -C model
    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    PYTHONPATH=model python3 -s -B example/check.py
    PYTHONPATH=model python3 -s -B example/embed.py 0 6 2 >expected
    for level; do
        "$root/Examples/inference/generate.py" "$level" 6 2 >"example/$level.json"
        vine "$how" 0 "example/$level.json" --run-dir "run-$level"
        assert_same expected "example/results/$level-2.txt"
        python3 - "run-$level/summary.json" "$cores" <<-'END'
			import json, sys
			summary = json.load(open(sys.argv[1]))
			reads = {row["file"]: row["sharedFileSystemReads"] for row in summary["files"]}
			assert reads["model.tar"] == 1, reads
			for library in (summary.get("libraries") or {}).values():
			    assert 1 <= library["setups"] <= int(sys.argv[2]) * summary["nodes"], library
		END
    done
}
test_inference_gives_equal_digests_on_all_levels() {
    inference 3 l1 l2 fork direct
}
test_inference_on_two_hosts() {
    up_hosts 2
    inference hosts:2:1 l2 direct
}

test_a_native_crash_costs_its_instance_alone() {
    need cc
    cc -shared -fPIC -I"$VINE_INCLUDE" -o fragile.so -x c - <<-'END'
		#include <stdlib.h>
		#include <vine_function.h>
		int twice(vine_call *call) { return vine_printf(call, "%d", 2 * atoi(call->arguments + 1)); }
		int crash(vine_call *call) { (void)call; abort(); }
	END
    cat >w.json <<-'END'
		{"schema": "vine-workflow/1", "policy": {"on_failure": "continue"},
		 "libraries": {"l": {"language": "native", "shared_object": "fragile.so", "functions": ["twice", "crash"]}},
		 "tasks": [
		   {"id": "crash", "call": {"library": "l", "function": "crash"}},
		   {"id": "m", "map": {"library": "l", "function": "twice", "over": {"range": [0, 100]}, "chunk": 5},
		    "result": "m.json"},
		   {"id": "after", "call": {"library": "l", "function": "twice", "args": [{"$ref": "m", "path": "/99"}]},
		    "result": "after.json"}]}
	END
    vine 3 1 w.json
    assert_says 'crash'
    assert_says 'killed by signal 6'
    assert_equal 198 "$(sed 's/.*,//; s/]//' m.json)" "the last item"
    assert_file after.json 396
}

test_malformed_frames_do_not_crash_the_native_host() {
    need cc python3
    local checks=(-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined) seed
    build() { cc -g -O1 -I"$VINE_INCLUDE" "$@" -o host "$root"/Sources/CVineHost/*.c "$root/Sources/vine-host/main.c" -ldl -lpthread; }
    build "${checks[@]}" 2>said || build
    cc -shared -fPIC -I"$VINE_INCLUDE" -o f.so -x c - <<-'END'
		#include <vine_function.h>
		int f(vine_call *call) { return vine_put(call, call->arguments, call->argument_count); }
	END
    # Sizes that nobody has memory for are refused, as without the checks.
    export ASAN_OPTIONS=allocator_may_return_null=1
    for seed in 1 2 3; do python3 "$tests/Functions/malformed.py" ./host f.so "$seed"; done
}
