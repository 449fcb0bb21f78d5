# shellcheck shell=bash disable=SC2154
# Functions that do nothing: the rate of calls, alone and in batches.

functions_items=1000000 # of a map
functions_forks=4000
functions_calls=50000
functions_links=1000

# A library of one function that fills the node: one instance, in the one worker's rank.
functions_library() { # KIND: process, rank, direct or fork
    local source='"language": "python", "module": "null.py"'
    case $1 in process | rank) source='"language": "native", "shared_object": "nothing.so"' ;; esac
    printf '"libraries": {"l": {%s, "functions": ["f"], "exec_mode": "%s", "cores": %d}}' \
        "$source" "$1" "$(nproc)"
}

prepare_functions() {
    local kind i count
    gcc -O2 -shared -fPIC -I"$root/Sources/CVineHost/include" -o nothing.so -x c - <<-'END'
		#include <vine_function.h>
		int f(vine_call *call) { (void)call; return 0; }
	END
    printf 'def f(x=None): return None\n' >null.py
    for kind in process rank direct fork; do
        cat >"map-$kind.json" <<-END
			{"schema": "vine-workflow/1", "name": "map", $(functions_library "$kind"),
			 "tasks": [{"id": "m", "map": {"library": "l", "function": "f",
			   "over": {"range": [0, $functions_items]}, "chunk": 1000}}]}
		END
        # The runs that mpi4py gets.
        sed 's/"chunk": 1000/"chunk": 100/' "map-$kind.json" >"map100-$kind.json"
        count=$functions_calls
        [[ $kind != fork ]] || count=$functions_forks
        {
            echo "{\"schema\": \"vine-workflow/1\", \"name\": \"calls\", $(functions_library "$kind")}"
            for ((i = 0; i < count; i++)); do
                echo "{\"task\": {\"id\": \"c$i\", \"call\": {\"library\": \"l\", \"function\": \"f\", \"args\": [$i]}}}"
            done
        } >"calls-$kind.jsonl"
        {
            echo "{\"schema\": \"vine-workflow/1\", \"name\": \"chain\", $(functions_library "$kind")}"
            echo '{"task": {"id": "c0", "call": {"library": "l", "function": "f", "args": [0]}}}'
            for ((i = 1; i < functions_links; i++)); do
                echo "{\"task\": {\"id\": \"c$i\", \"call\": {\"library\": \"l\", \"function\": \"f\", \"args\": [{\"\$ref\": \"c$((i - 1))\"}]}}}"
            done
        } >"chain-$kind.jsonl"
    done
    head -n 2 calls-process.jsonl >one.jsonl
    cat >forks.py <<-'END'
		import os, sys, time
		count = int(sys.argv[1])
		begin = time.perf_counter()
		for _ in range(count):
		    process = os.fork()
		    if process == 0:
		        os._exit(0)
		    os.waitpid(process, 0)
		print(time.perf_counter() - begin)
	END
    cat >futures.py <<-'END'
		import sys, time
		from mpi4py.futures import MPIPoolExecutor
		from null import f
		if __name__ == "__main__":
		    count, chunk = int(sys.argv[1]), int(sys.argv[2])
		    with MPIPoolExecutor() as pool:
		        list(pool.map(f, range(1000), chunksize=100))
		        begin = time.perf_counter()
		        list(pool.map(f, range(count), chunksize=chunk))
		        print(time.perf_counter() - begin)
		        sys.stdout.flush()
	END
    functions_mpi4py=''
    if ! python3 -m venv venv >said 2>&1 || ! venv/bin/pip install -q mpi4py >>said 2>&1; then
        functions_mpi4py='cannot install mpi4py from PyPI'
    elif ! timeout 60 mpirun -n 2 venv/bin/python3 -m mpi4py.futures futures.py 10 1 >said 2>&1; then
        functions_mpi4py='mpi4py does not run with this MPI'
    fi
}

functions_one() { # CONTENDER
    local kind=${1%%,*} options=() how=2
    [[ $1 != *embedded ]] || how=embedded
    kind=${kind##* }
    [[ $kind != rank ]] || options=(--in-rank)
    case $1 in
        *", map"*)
            local runs=map
            [[ $1 != *"by 100" ]] || runs=map100
            if run_vine 2 "$runs-$kind.json" --quiet "${options[@]}"; then
                record calls/s "$1" "$(calculate "$functions_items / $span")"
            else
                failed "$1"
            fi ;;
        *", calls")
            local count=$functions_calls
            [[ $kind != fork ]] || count=$functions_forks
            if run_vine 2 "calls-$kind.jsonl" --quiet "${options[@]}"; then
                record calls/s "$1" "$(calculate "$count / $span")"
            else
                failed "$1"
            fi ;;
        *", chain"*)
            if run_vine "$how" "chain-$kind.jsonl" --quiet --trace trace.tsv "${options[@]}"; then
                # From the end of a call to the end of the next.
                while read -r value; do record "us, lone call" "$1" "$value"; done < <(
                    sort -t$'\t' -k4,4g trace.tsv | awk -F'\t' '$1 ~ /^c[0-9]/ {
                        if (n++) printf "%.3f\n", ($4 - last) * 1e6
                        last = $4 }')
            else
                failed "$1"
            fi ;;
        "os.fork loop")
            measured python3 forks.py "$functions_forks" || { failed "$1"; return; }
            record calls/s "$1" "$(calculate "$functions_forks / $(<said)")" ;;
        "mpi4py, chunks of 100")
            [[ -z $functions_mpi4py ]] || { absent "$1" "$functions_mpi4py"; return; }
            measured mpirun -n 2 venv/bin/python3 -m mpi4py.futures futures.py 200000 100 || { failed "$1"; return; }
            record calls/s "$1" "$(calculate "200000 / $(<said)")" ;;
        "mpi4py, singly")
            [[ -z $functions_mpi4py ]] || { absent "$1" "$functions_mpi4py"; return; }
            measured mpirun -n 2 venv/bin/python3 -m mpi4py.futures futures.py 5000 1 || { failed "$1"; return; }
            record calls/s "$1" "$(calculate "5000 / $(<said)")" ;;
    esac
}

# The processor time of rank 0 so far, while a run goes on: sets `last`, in seconds.
functions_rank0() { # WORKFLOW
    local rank pid
    last=0
    rm -rf run scratch
    mkdir scratch
    mpirun -n 2 "$vine" run --run-dir run --scratch "$PWD/scratch" --quiet "$1" >said 2>&1 &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        while read -r rank pid; do
            [[ $rank != 0 ]] || last=$(cat "/proc/$pid"/task/*/schedstat 2>/dev/null | awk -v before="$last" '
                { sum += $1 } END { print (sum > before * 1e9 ? sum / 1e9 : before) }')
        done < <(ranks_of "$VINE_BENCH_MARK")
        sleep 0.02
    done
    status=0
    wait "$child" || status=$?
    child=''
    return "$status"
}

# The manager's: what a run of one call does not take, nor reading the description.
functions_manager() { # CONTENDER WORKFLOW CALLS
    local last base
    functions_rank0 one.jsonl || { failed "$1"; return; }
    base=$last
    functions_rank0 "$2" || { failed "$1"; return; }
    measured "$vine" check "$2" || { failed "$1"; return; }
    record "us of the manager" "$1" "$(calculate "($last - $base - $cpu) * 1e6 / $3")"
}

round_functions() {
    in_turn functions_one "native rank, map" "native process, map" "Python direct, map" "Python direct, map by 100" "Python fork, map" \
        "native process, calls" "Python direct, calls" "Python fork, calls" \
        "native rank, chain" "native process, chain" "Python direct, chain" "Python fork, chain" \
        "native rank, chain embedded" "native process, chain embedded" "Python direct, chain embedded" \
        "os.fork loop" "mpi4py, chunks of 100" "mpi4py, singly"
    functions_manager map map-process.json "$functions_items"
    functions_manager calls calls-process.jsonl "$functions_calls"
}
