# shellcheck shell=bash disable=SC2034,SC2154
# Files that move: one to all and one to one, beside small C programs that do the same over the same
# MPI; as fast as the machine goes and with links of 1 Gbit/s; many small files; popular files.
#
# vine-mpi's times are from the first order to the last report of the transfers in question, by
# --transfers; the C programs' from when all are ready to when all have written. Everybody writes to
# the hosts' /tmp (in memory), reads pages in memory, what goes from one to one from there too, and sums
# up and checks every byte.
data_mib=1024
data_rate=1gbit

prepare_data() {
    mpicc -O2 -o "$work/bin/spread" "$here/reference/spread.c"
    head -c "${data_mib}M" /dev/urandom >big
    for ((i = 0; i < 200; i++)); do head -c 1M /dev/urandom >"popular$i"; done
    python3 - "$(nproc)" <<'END'
import json, os, sys
over = os.getcwd() + "/over"
cores = int(sys.argv[1])

def write(name, files, tasks):
    with open(name, "w") as file:
        json.dump({"schema": "vine-workflow/1", "name": "data", "files": files, "tasks": tasks}, file)

write("one-to-all.json", {"big": {"path": "big"}},
      [{"id": f"t{i}", "command": "true", "inputs": ["big"], "cores": cores} for i in range(8)])

# The host that makes the files is held by a task that wants the largest of them, so that the one that
# reads all goes to the other host.
def moved(name, source, make, outputs):
    files = {name: {"temp": True} for name in outputs}
    files["mark"] = {"temp": True}
    if source: files[source] = {"path": source}
    write(name, files, [
        {"id": "make", "command": make, "outputs": outputs + ["mark"], "cores": cores, "inputs": [source] if source else []},
        {"id": "hold", "command": f"until test -e {over}; do sleep 0.2; done", "inputs": ["mark"], "cores": cores,
         "priority": 9},
        {"id": "use", "command": f"touch {over}", "inputs": outputs, "cores": cores}])
moved("one-to-one.json", "", f"cat {os.getcwd()}/big > copy; echo > mark", ["copy"])
moved("small.json", "", "for i in $(seq 10000); do head -c 4096 /dev/zero > s$i; done; echo > mark",
      [f"s{i}" for i in range(1, 10001)])

popular = [f"popular{i}" for i in range(200)]
work = [{"id": f"t{i}", "argv": ["/bin/sleep", "0.1"], "inputs": [popular[i % 200]], "after": ["gate"]} for i in range(1000)]
gate = {"id": "gate", "argv": ["/bin/true"]}
files = {name: {"path": name} for name in popular}
write("cold.json", files, [gate] + work)
warm = [{"id": f"warm{i}", "command": "sleep 0.5", "inputs": popular, "cores": cores} for i in range(4)]
write("cached.json", files, warm + [gate | {"after": [f"warm{i}" for i in range(4)]}] + work)
END
}

# data_span FILES: seconds that the transfers of files whose names match it took
data_span() {
    awk -F '\t' -v files="$1" '!/^#/ && $1 ~ files && $7 == 0 && $2 != "manager" && (files == "^big$" || $2 != "shared") {
        if (first == "" || $4 < first) first = $4
        if ($5 > last) last = $5
        count++
    } END { if (!count) exit 1; print last - first }' transfers.tsv
}

data_shape() { # RATE|off, for all hosts, both ways
    local host
    for host in /run/vine-testbed/"$TESTBED_NAME"/host*.pid; do
        host=$(basename "$host" .pid)
        if [[ $1 == off ]]; then
            nsenter --net="/run/vine-testbed/$TESTBED_NAME/front.net" tc qdisc del dev "$host" root 2>/dev/null || true
            "$hosts" exec "$host" tc qdisc del dev eth0 root 2>/dev/null || true
        else
            nsenter --net="/run/vine-testbed/$TESTBED_NAME/front.net" tc qdisc add dev "$host" root tbf rate "$1" burst 256k latency 100ms || return
            "$hosts" exec "$host" tc qdisc add dev eth0 root tbf rate "$1" burst 256k latency 100ms || return
        fi
    done
}

data_vine() { # CONTENDER FIGURE WORKFLOW FILES SCALE: records SCALE / seconds, or seconds for scale 0
    local seconds
    rm -f over
    run_vine hosts:1 "$3" --quiet --transfers transfers.tsv || { failed "$1"; return; }
    seconds=$(data_span "$4") || { status=1; failed "$1"; return; }
    record "$2" "$1" "$(calculate "$5 == 0 ? $seconds : $5 / $seconds")"
}

data_reference() { # CONTENDER FIGURE SCALE WORD...: the C program
    local contender=$1 figure=$2 scale=$3
    shift 3
    measured "$hosts" run 1 -- "$work/bin/spread" big /tmp/copy "$@" || { failed "$contender"; return; }
    record "$figure" "$contender" "$(calculate "$scale == 0 ? $(tail -n 1 said) : $scale / $(tail -n 1 said)")"
}

# A virtual machine may have given memory back that nobody used: who writes there first then waits for
# the host, at a third of the speed. So memory is written and freed before each contender: half as much
# again as it will need, since some is given back before it comes to that.
data_settle() { # MIB
    local free
    free=$(df --output=avail -BM /dev/shm | tail -n 1 | tr -dc 0-9)
    head -c "$(($1 < free ? $1 : free))M" /dev/zero >/dev/shm/vine-settle 2>/dev/null || true
    rm -f /dev/shm/vine-settle
}

data_one() { # CONTENDER
    local link
    case $1 in
        *"8 hosts"*) data_settle $((14 * data_mib)) ;;
        *) data_settle $((3 * data_mib)) ;;
    esac
    link=$(calculate "$data_mib * 1048576 * 8 / 1e9")
    case $1 in
        "vine-mpi, 8 hosts") data_vine "$1" "s" one-to-all.json '^big$' 0 ;;
        "MPI_Bcast, 8 hosts") data_reference "$1" "s" 0 $((4 << 20)) ;;
        "vine-mpi, 8 hosts at 1 Gbit/s") data_vine "$1" "s" one-to-all.json '^big$' 0 ;;
        "MPI_Bcast, 8 hosts at 1 Gbit/s") data_reference "$1" "s" 0 $((4 << 20)) ;;
        "vine-mpi, 2 hosts") data_vine "$1" "MiB/s" one-to-one.json '^copy$' "$data_mib" ;;
        "C, 2 hosts") data_reference "$1" "MiB/s" "$data_mib" $((1 << 20)) send ;;
        "vine-mpi, 2 hosts at 1 Gbit/s") data_vine "$1" "MiB/s" one-to-one.json '^copy$' "$data_mib" ;;
        "vine-mpi, small files") data_vine "$1" "files/s" small.json '^s[0-9]*$' 10000 ;;
        *) data_popular "$1" ;;
    esac
}

data_popular() { # "cold" or "cached": from the end of the gate to the last end
    local seconds
    run_vine hosts:1 "$1.json" --quiet --trace trace.tsv || { failed "$1"; return; }
    seconds=$(awk -F '\t' '$1 == "gate" { gate = $4 } !/^#/ && $4 > last { last = $4 } END { print last - gate }' trace.tsv)
    record "s" "$1" "$seconds"
    [[ $1 != cold ]] || record "MiB read" "cold" "$(calculate "$(summary sharedFileSystemToNode) / 1048576")"
}

round_data() {
    local reason=''
    if ! up_hosts 8; then
        for name in "vine-mpi, 8 hosts" "vine-mpi, 8 hosts at 1 Gbit/s" "vine-mpi, 2 hosts" \
            "vine-mpi, 2 hosts at 1 Gbit/s" "vine-mpi, small files" cold; do
            absent "$name" "$reason"
        done
        return
    fi
    in_turn data_one "vine-mpi, 8 hosts" "MPI_Bcast, 8 hosts"
    if data_shape "$data_rate"; then
        in_turn data_one "vine-mpi, 8 hosts at 1 Gbit/s" "MPI_Bcast, 8 hosts at 1 Gbit/s"
    else
        absent "vine-mpi, 8 hosts at 1 Gbit/s" "no tc tbf"
        absent "vine-mpi, 2 hosts at 1 Gbit/s" "no tc tbf"
    fi
    "$hosts" down
    up_hosts 2 && data_shape "$data_rate" && data_one "vine-mpi, 2 hosts at 1 Gbit/s"
    "$hosts" down
    up_hosts 2 || return 0
    in_turn data_one "vine-mpi, 2 hosts" "C, 2 hosts"
    data_one "vine-mpi, small files"
    "$hosts" down
    up_hosts 4 || return 0
    in_turn data_one cold cached
    "$hosts" down
}
