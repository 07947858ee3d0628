#!/usr/bin/env bash
# Run a job again, or all that a day needs, in order, each by its own wrapper with the options that this takes.
# `all` stops at the first job that fails, and ends with 3 where one did (some input was rejected, or a mail is delayed).
set -euo pipefail
cd "$(dirname "$0")"
usage() {
  cat >&"$1" <<'END'
usage: scripts/rerun.sh JOB [--from T] [--until T] [--replace] [--dry-run]

JOB: ingest-products, ingest-countries, ingest-transactions, gold, star, baselines, detect, alerts, maintenance,
     or all: from the ingests to the alerts

  --from T, --until T  only files whose window, or whose snapshot date, is from T to T (UTC), such as 2011-01-31T08:00
  --replace            let a loaded file whose bytes have changed take its own place
  --dry-run            say what is pending, and change nothing
END
}
wrong() {
  echo "rerun: $1" >&2
  usage 2
  exit 2
}

wrapper() { # of a job, and the options that it takes
  case $1 in
    ingest-*) echo "run_ingest_${1#*-}.sh --from --until --replace --dry-run" ;;
    gold) echo "run_fact_postgres.sh --from --until --dry-run" ;;
    star) echo "run_star_schema.sh --dry-run" ;;
    baselines) echo "run_refresh_baselines.sh --until --dry-run" ;;
    detect) echo "run_detect_anomalies.sh --dry-run" ;;
    alerts) echo "run_send_alerts.sh --dry-run" ;;
    maintenance) echo "run_maintenance.sh --dry-run" ;;
  esac
}

for word in "$@"; do
  [[ $word != --help && $word != -h ]] || { usage 1; exit; }
done
case ${1:-} in
  all) jobs=(ingest-products ingest-countries ingest-transactions gold star detect alerts) ;;
  ingest-products | ingest-countries | ingest-transactions | gold | star | baselines | detect | alerts | maintenance)
    jobs=("$1") ;;
  "") wrong "no JOB named" ;;
  *) wrong "$1 is no job" ;;
esac
shift
given=()
while [ $# -gt 0 ]; do
  case $1 in
    --from | --until)
      [ $# -gt 1 ] || wrong "$1 needs a time"
      set -- "$1=$2" "${@:3}"
      continue ;;
    --from=* | --until=*) # also where no job reads it
      [[ ${1#*=} =~ ^[0-9TZ:.+\ -]+$ ]] || wrong "${1%%=*}: ${1#*=} is not a time such as 2011-01-31T08:00" ;;
    --replace | --dry-run) ;;
    *) wrong "$1 is no option" ;;
  esac
  given+=("$1")
  shift
done

export WAREHOUSE_RUN_ID="${WAREHOUSE_RUN_ID:-rerun-$(date -u +%Y%m%dT%H%M%S)}"
code=0
for job in "${jobs[@]}"; do
  read -ra takes <<<"$(wrapper "$job")"
  options=()
  for option in ${given[@]+"${given[@]}"}; do
    if [[ " ${takes[*]:1} " == *" ${option%%=*} "* ]]; then
      options+=("$option")
    elif [ ${#jobs[@]} = 1 ]; then
      echo "rerun: $job takes no ${option%%=*}: it is left out" >&2
    fi
  done
  "./${takes[0]}" ${options[@]+"${options[@]}"} && ended=0 || ended=$?
  case $ended in
    0) ;;
    3) code=3 ;;
    *) exit "$ended" ;;
  esac
done
exit "$code"
