# shellcheck shell=bash disable=SC2154
# What sharing a context is worth: the inferences of Examples/inference at every level, for several
# amounts of work per call.

# Calls of a level per round, by sentences per call: about ten seconds each.
context_calls() { # LEVEL SENTENCES
    case $1 in
        l1) echo 8 ;;
        l2) echo 16 ;;
        *) case $2 in 1) echo 600 ;; 4) echo 240 ;; 16) echo 80 ;; *) echo 24 ;; esac ;;
    esac
}
context_sentences=(1 4 16 64)
declare -A context_cpu
context_threads=(env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1)

prepare_context() {
    local level sentences
    context_reason=''
    cp "$root"/Examples/inference/*.py "$root/Examples/inference/prepare.sh" "$root/Examples/inference/reference.json" .
    mkdir -p results
    if ! ./prepare.sh >said 2>&1; then
        context_reason='cannot get the model from PyPI'
        return
    fi
    mkdir model
    tar -xf model.tar -C model
    if ! PYTHONPATH=model "${context_threads[@]}" python3 -s -B check.py >said 2>&1; then
        context_reason="the model does not compute what it should: $(tail -n 1 said)"
        return
    fi
    for sentences in "${context_sentences[@]}"; do
        for level in l1 l2 fork direct; do
            ./generate.py "$level" "$(context_calls "$level" "$sentences")" "$sentences" >"$level-$sentences.json"
        done
    done
    # A context of half a second for a hundred calls: as tasks of their own, and in a library.
    printf 'import time\ndef load():\n    time.sleep(0.5)\ndef f(x):\n    return x\n' >half.py
    {
        echo '{"schema": "vine-workflow/1", "tasks": ['
        for i in {1..100}; do
            [[ $i == 1 ]] || echo ,
            echo "{\"id\": \"t$i\", \"command\": \"python3 -c 'import half; half.load(); half.f($i)'\", \"inputs\": [\"half.py\"]}"
        done
        echo ']}'
    } >half-l1.json
    for level in fork direct; do
        {
            echo '{"schema": "vine-workflow/1", "libraries": {"half": {"language": "python", "module": "half.py",'
            echo "\"functions\": [\"f\"], \"context\": {\"function\": \"load\"}, \"exec_mode\": \"$level\"}}, \"tasks\": ["
            for i in {1..100}; do
                [[ $i == 1 ]] || echo ,
                echo "{\"id\": \"c$i\", \"call\": {\"library\": \"half\", \"function\": \"f\", \"args\": [$i]}}"
            done
            echo ']}'
        } >"half-$level.json"
    done
}

# As many loops as worker ranks, on as many calls each.
context_loop() { # SENTENCES
    local count half
    count=$(context_calls direct "$1")
    half=$((count / 2))
    # shellcheck disable=SC2016  # for the inner shell
    measured "${context_threads[@]}" PYTHONPATH=model sh -c \
        'python3 -s -B embed.py 0 "$1" "$3" >loop.a & python3 -s -B embed.py "$1" "$2" "$3" >loop.b; wait' \
        sh "$half" "$count" "$1" || return
    cat loop.a loop.b >"results/loop-$1.txt"
}

# The digests of a level are the first ones of the loop.
context_check() { # LEVEL SENTENCES
    local count
    count=$(context_calls "$1" "$2")
    if [[ ! -s results/loop-$2.txt ]]; then
        PYTHONPATH=model "${context_threads[@]}" python3 -s -B embed.py 0 "$(context_calls direct "$2")" "$2" \
            >"results/loop-$2.txt"
    fi
    cmp -s <(head -n "$count" "results/loop-$2.txt") "results/$1-$2.txt" && return
    say "context: digests of $1 with $2 sentences differ from the loop's"
    return 1
}

context_one() { # CONTENDER: LEVEL, SENTENCES
    local level=${1%%,*} sentences count
    sentences=${1##*, }
    count=$(context_calls "$level" "$sentences")
    if [[ $level == loop ]]; then
        context_loop "$sentences" || { failed "$1"; return; }
        span=$wall
    else
        rm -f "results/$level-$sentences.txt"
        if ! run_vine 3 "$level-$sentences.json" --quiet || ! context_check "$level" "$sentences"; then
            failed "$1"
            return
        fi
    fi
    context_cpu[$level-$sentences]=$(calculate "$cpu * 1e3 / $count")
    record "CPU ms/call" "$1" "${context_cpu[$level-$sentences]}"
    record "wall ms/call" "$1" "$(calculate "$span * 1e3 / $count")"
}

context_half() { # LEVEL
    run_vine embedded "half-$1.json" --quiet || { failed "$1, 0.5 s set-up"; return; }
    record "s" "$1, 0.5 s set-up" "$wall"
}

round_context() {
    local contenders=() sentences level
    context_cpu=()
    if [[ -n $context_reason ]]; then
        for sentences in "${context_sentences[@]}"; do
            for level in l1 l2 fork direct loop; do absent "$level, $sentences" "$context_reason"; done
        done
    else
        for sentences in "${context_sentences[@]}"; do
            for level in l1 l2 fork direct loop; do contenders+=("$level, $sentences"); done
        done
        in_turn context_one "${contenders[@]}"
        for sentences in "${context_sentences[@]}"; do
            [[ -n ${context_cpu[direct-$sentences]:-} && -n ${context_cpu[loop-$sentences]:-} ]] || continue
            record "CPU ms/call over 1.15 x the loop" "direct, $sentences" \
                "$(calculate "${context_cpu[direct-$sentences]} - 1.15 * ${context_cpu[loop-$sentences]}")"
        done
    fi
    in_turn context_half l1 fork direct
}
