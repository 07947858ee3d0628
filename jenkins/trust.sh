#!/usr/bin/env bash
# Add every certificate of a PEM file to a Java trust store: trust.sh STORE FILE. Keytool takes but the first of a file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
csplit -sz -f "$folder/$(basename "$2")-" "$2" '/-----BEGIN CERTIFICATE-----/' '{*}'
for file in "$folder"/*; do
  grep -q -e '-----BEGIN CERTIFICATE-----' "$file" || continue # what stands before the first
  keytool -importcert -noprompt -keystore "$1" -storepass changeit -alias "$(basename "$file")" -file "$file"
done
