#!/usr/bin/env bash
# What a run did, as summary.html and checks.xml: RUN_ID --into FOLDER. Asks Gold alone: no Spark is started.
set -euo pipefail
[ -z "${WAREHOUSE_PLATFORM:-}" ] || exec warehouse report "$@"

# from a checkout: made in the client's container, and brought here
if [ $# != 3 ] || [ "$2" != --into ]; then
  echo "usage: scripts/run_report.sh RUN_ID --into FOLDER" >&2
  [ "${1:-}" = --help ] || exit 2
  exit
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck disable=SC2016 # what the container's shell expands
"$(dirname "$0")/compose.sh" exec -T spark-client bash -euc '
  folder=$(mktemp -d)
  trap "rm -rf $folder" EXIT
  warehouse report "$1" --into "$folder" >"$folder/line"
  tar -C "$folder" -c .' _ "$1" </dev/null >"$folder/all.tar"
tar -C "$folder" -xf "$folder/all.tar"
mkdir -p "$3"
mv "$folder/summary.html" "$folder/checks.xml" "$3/"
cat "$folder/line"
