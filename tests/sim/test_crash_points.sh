#!/bin/sh
# test_crash_points.sh VARVE-SIM DOCUMENT: every crash point is recovered from, and the document says what
# each leaves behind. With VARVE_QUICK set, as the sanitized runs have it, some of the crashes, and no more.
#
# To write the document anew: test_crash_points.sh VARVE-SIM DOCUMENT --write
set -eu

sim=$1
document=$2
[ -z "${VARVE_QUICK:-}" ] || exec "$sim" --crash-points --every 9 --threads 2

new=$(mktemp)
trap 'rm -f "$new" "$new.head" "$new.old"' EXIT
"$sim" --crash-points --threads 2 >"$new" || {
    cat "$new"
    exit 1
}
sed '/^| step /,$d' "$document" >"$new.head"
if [ "${3:-}" = --write ]; then
    cat "$new.head" "$new" >"$document"
    exit 0
fi
sed -n '/^| step /,$p' "$document" >"$new.old"
diff -u "$new.old" "$new" || {
    echo "$document is not what crashes leave behind now: if that is meant, write it anew with --write"
    exit 1
}
