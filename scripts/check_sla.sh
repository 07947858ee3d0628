#!/usr/bin/env bash
# Are the views fresh? [--at T] [--json]; exit code 1 where the SLA was missed. Asks Gold alone: no Spark is started.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${WAREHOUSE_PLATFORM:-}" ] || exec scripts/compose.sh exec -T spark-client scripts/check_sla.sh "$@" </dev/null
exec warehouse sla "$@"
