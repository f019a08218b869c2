#!/bin/sh
# test_trace.sh VARVE-SIM: equal seeds have equal traces, also in another process at other addresses;
# different seeds have different ones.
set -eu

hashes() {
    "$@" --seed 1 --count 40 --trace-hash | sed -n 's/^seed [0-9]* trace //p' | sort
}

first=$(hashes "$1")
second=$(hashes "$1" --threads 2)
[ "$first" = "$second" ] || {
    echo "the same seeds, run twice, do not do the same"
    exit 1
}
different=$(echo "$first" | uniq | grep -c .)
[ "$different" = 40 ] || {
    echo "40 seeds have $different traces"
    exit 1
}
