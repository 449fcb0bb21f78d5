# shellcheck shell=bash disable=SC2154
# A small file handed from task to task: what a link costs above its process.

chain_links=200

prepare_chain() {
    local i
    chain_cp=$(command -v cp)
    echo "a line" >f0
    {
        echo '{"schema": "vine-workflow/1", "name": "chain"}'
        echo '{"file": {"id": "f0", "path": "f0"}}'
        for ((i = 1; i <= chain_links; i++)); do echo "{\"file\": {\"id\": \"f$i\", \"temp\": true}}"; done
        for ((i = 0; i < chain_links; i++)); do
            echo "{\"task\": {\"id\": \"t$i\", \"argv\": [\"$chain_cp\", \"f$i\", \"f$((i + 1))\"], \"inputs\": [\"f$i\"], \"outputs\": [\"f$((i + 1))\"]}}"
        done
    } >chain.jsonl
}

chain_one() { # CONTENDER
    case $1 in
        "C loop")
            mkdir -p plain
            cp f0 plain/f0
            measured "$work/bin/spawnloop" "$chain_links" 1 "$chain_cp" plain/f%i plain/f%j && span=$(<said) ;;
        "vine-mpi, 3 ranks") run_vine 3 chain.jsonl --quiet ;;
        "vine-mpi embedded") run_vine embedded chain.jsonl --quiet ;;
    esac || { failed "$1"; return; }
    rm -rf plain
    record "ms/link" "$1" "$(calculate "$span * 1e3 / $chain_links")"
}

round_chain() {
    local _
    for _ in 1 2 3; do in_turn chain_one "C loop" "vine-mpi, 3 ranks" "vine-mpi embedded"; done
}
