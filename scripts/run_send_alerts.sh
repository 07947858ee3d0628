#!/usr/bin/env bash
# Tell the stewards of new cases by mail: [--dry-run] [--json]
exec "$(dirname "$0")/submit.sh" send_alerts "$@"
