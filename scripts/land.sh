#!/usr/bin/env bash
# Put files into the landing zone, each whole or not at all: scripts/land.sh FILE…
# Each goes to the folder that its name says (transactions_*, products_*, countries_*). They are uploaded under names that
# jobs leave alone, and take their own names once all are there; a file of the same name is replaced.
# Works in the client's container, and from a checkout on the machine that runs the cluster.
set -euo pipefail
usage() { echo "land: $1" >&2; exit 2; }
[ $# -gt 0 ] || usage "no file named; usage: scripts/land.sh FILE…"
for file in "$@"; do
  name=$(basename "$file")
  if [ ! -f "$file" ] || [ ! -r "$file" ]; then usage "$file is not a file that can be read"; fi
  [[ $name =~ ^(transactions|products|countries)_[A-Za-z0-9_.:-]+\.csv(\.gz)?$ ]] ||
    usage "$name: a landing file is called transactions_*, products_* or countries_*, .csv or .csv.gz"
done

if [ -z "${WAREHOUSE_PLATFORM:-}" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  for file in "$@"; do
    [ ! -e "$folder/$(basename "$file")" ] || usage "$(basename "$file") is named twice"
    ln -s "$(realpath "$file")" "$folder/"
  done
  # one stream into the container, whose own land.sh takes it from there
  # shellcheck disable=SC2016 # what the container's shell expands
  tar -C "$folder" -ch . | "$(dirname "$0")/compose.sh" exec -T spark-client bash -euc '
    folder=$(mktemp -d)
    trap "rm -rf $folder" EXIT
    tar -C "$folder" -x
    scripts/land.sh "$folder"/*'
  exit
fi

# WebHDFS on the namenode, at the landing zone's path
zone=${LANDING_URI#hdfs://}
url=http://${zone%%[:/]*}:9870/webhdfs/v1/${zone#*/}
mark=.$$-$(head -c 4 /dev/urandom | od -An -tx1 | tr -d ' \n')
export zone url mark

put() { # path with its query, what it is for, further options of curl
  local said
  said=$(curl -sS -L -X PUT -w ' HTTP %{http_code}' "${@:3}" "$url/$1&user.name=$(id -un)" 2>&1) || said="failed: $said"
  [[ $said != *" HTTP 2"?? ]] || return 0
  said=${said#*\"message\":\"}
  echo "land: cannot $2: ${said%%[\\\"]*}" >&2
  return 1
}
waiting() { echo "${1%%_*}/$mark-$1.tmp"; }
upload() { put "$(waiting "$(basename "$1")")?op=CREATE&overwrite=true" "upload $1" -T "$1"; }
export -f put waiting upload

withdraw() { # what was uploaded and has not got its name
  local file
  for file in "$@"; do
    curl -s -o /dev/null -X DELETE "$url/$(waiting "$(basename "$file")")?op=DELETE&user.name=$(id -un)" || true
  done
}
again="Run the same command again."
# shellcheck disable=SC2016
printf '%s\0' "$@" | xargs -0 -n 1 -P 8 bash -c 'upload "$1" || exit 255' _ ||
  { withdraw "$@"; echo "land: nothing has landed. $again" >&2; exit 1; }
for file in "$@"; do
  name=$(basename "$file")
  put "$(waiting "$name")?op=RENAME&renameoptions=OVERWRITE&destination=/${zone#*/}/${name%%_*}/$name" "rename $file" ||
    { withdraw "$@"; echo "land: $name and those after it have not landed. $again" >&2; exit 1; }
done
echo "land: $# file$([ $# = 1 ] || echo s) in ${LANDING_URI}"
