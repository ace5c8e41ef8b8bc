#!/bin/bash
# lint-shell.sh: runs shellcheck over every shell script of this checkout. .shellcheckrc says what it does not mind.
set -eu
cd "$(dirname "$0")/../.."
scripts=()
while IFS= read -r -d '' file; do
	if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
	first=
	IFS= read -r first <"$file" || [ -n "$first" ] || continue
	case $first in
	'#!'*[/\ ]sh | '#!'*[/\ ]sh\ * | '#!'*bash* | '#!'*dash* | '# shellcheck shell='*) scripts+=("$file") ;;
	*) case $file in *.sh | *.bash) scripts+=("$file") ;; esac ;;
	esac
done < <(git ls-files -z --cached --others --exclude-standard)
[ ${#scripts[@]} -ge 30 ] || { echo "lint-shell.sh: found only ${#scripts[@]} scripts" >&2; exit 1; }
shellcheck "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts"
