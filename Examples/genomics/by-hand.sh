#!/usr/bin/env bash
# usage: by-hand.sh OUTPUT.vcf
#
# The commands of workflow.json one after the other, without vine-mpi.
# VINE_EXAMPLE_READS names another directory with the reads and the reference.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${VINE_EXAMPLE_READS:-/usr/share/spades/test_dataset}
output=$(realpath -m -- "${1:?usage: by-hand.sh OUTPUT.vcf}")
export LC_ALL=C

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

sh "$here/prepare.sh" "$data/reference_1K.fa.gz" >reference.fa
bwa index reference.fa 2>index.log
samtools faidx reference.fa
for side in 1 2; do
    gzip -dc "$data/ecoli_1K_$side.fq.gz" | split -l 2056 -d -a 1 - "reads$side."
done
for part in 0 1 2 3; do
    bwa mem -t 1 reference.fa "reads1.$part" "reads2.$part" 2>>align.log |
        samtools sort -o "part$part.bam" - 2>>align.log
done
samtools merge -f all.bam part0.bam part1.bam part2.bam part3.bam
samtools index all.bam
bcftools mpileup -d 10000 -f reference.fa all.bam 2>call.log |
    bcftools call -mv --ploidy 1 - 2>>call.log >variants.vcf
cp variants.vcf "$output"
