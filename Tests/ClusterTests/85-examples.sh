# The other examples give what they promise.

# shellcheck shell=bash source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sweep() { # HOW
    example sweep
    vine "$1" 0 example/workflow.json
    assert_equal 40 "$(wc -l <example/results/table.txt)" "lines of the table"
    assert_equal "2.5000  -0.6931 settles" "$(head -n 1 example/results/table.txt)"
    assert_equal "4.0000   0.6931 chaotic" "$(tail -n 1 example/results/table.txt)"
}
test_sweep_embedded() {
    sweep 0
}
test_sweep_4_ranks() {
    sweep 4
}
test_sweep_is_what_its_script_writes() {
    "$root/Examples/sweep/generate.sh" >w.json
    assert_same "$root/Examples/sweep/workflow.json" w.json
}

archives() { # HOW
    need tar gzip
    example archives
    vine "$1" 0 example/workflow.json
    assert_same example/expected.txt example/results/report.txt
    assert_equal $'sea\nhill\nroad' "$(tar -tf example/results/counts.tar)" "members"
    # What nodes keep is found by the next run, and the results are the same bytes.
    sha256sum example/results/counts.tar >before
    rm -rf run example/results/*.t*
    vine "$1" 0 example/workflow.json
    sha256sum -c --quiet before || fail "another archive"
    vine 0 0 cache ls --scratch "$work/scratch"
    assert_says "mini_task.*common.txt"
}
test_archives_embedded() {
    archives 0
}
test_archives_4_ranks() {
    archives 4
}

genomics() { # HOW
    need bwa samtools bcftools
    [[ -e /usr/share/spades/test_dataset/reference_1K.fa.gz ]] || skip "no reads (Debian's spades package)"
    example genomics
    example/by-hand.sh by-hand.vcf
    vine "$1" 0 example/workflow.json
    # Header lines hold dates, command lines and paths.
    grep -v '^##' by-hand.vcf >expected
    grep -v '^##' example/results/variants.vcf >found
    assert_same expected found
    assert_equal "251 500 750 " "$(grep -v '^#' found | cut -f2 | tr '\n' ' ')" "positions"
}
test_genomics_embedded() {
    genomics 0
}
test_genomics_4_ranks() {
    genomics 4
}

test_examples_are_accepted_by_check() {
    local file
    for file in "$root"/Examples/*/workflow.json; do vine 0 0 check "$file"; done
}

test_quickstart_script() {
    # A copy of the tree, so that this one stays as it is.
    mkdir "a copy"
    cp -r "$root/.ci" "$root/Examples" "$root/Package.swift" "a copy"
    rm -rf "a copy"/Examples/*/vine-runs
    local ranks
    for ranks in 4 2; do # again, and with another number of ranks
        (cd / && "$work/a copy/Examples/quickstart.sh" "$ranks") >said 2>&1 || { cat said; fail "with $ranks ranks"; }
        assert_says "words.txt"
        assert_says "^32 the"
    done
}
