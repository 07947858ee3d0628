#!/usr/bin/env bash
# Put Gold and the metastore back to where a back-up has them: BACKUP|latest [--gold-only] [--json]
# Asks for the name of Gold's database to be typed, on standard input; all of it is restored, or nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${WAREHOUSE_PLATFORM:-}" ] || exec scripts/compose.sh exec -T spark-client scripts/run_restore.sh "$@"
exec warehouse restore "$@"
