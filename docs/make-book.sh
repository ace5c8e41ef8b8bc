#!/bin/bash
# make-book.sh: makes the guide, the manual pages and the documents beside them into a website: target/book/html.
#
# Takes mdBook and mandoc. Where there is no mdbook on PATH, cargo installs the version named below in target/tools. The
# manual pages that are made from the table of commands must be there (`make release`).
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.5.4
book=target/book
# Of files that are made here, not cited.
md=md
summary=$book/source/SUMMARY.$md
export PATH=$PATH:$PWD/target/tools/bin

if ! command -v mdbook >/dev/null; then
	rust=$(rustc -V | cut -d' ' -f2)
	if [ "$(printf '%s\n1.88\n' "$rust" | sort -V | head -n 1)" != 1.88 ]; then
		echo "left out: the book: mdBook $version needs Rust 1.88, this is $rust"
		exit 0
	fi
	echo "Installing mdBook $version in target/tools"
	# It runs for a second: what takes long is to compile it.
	cargo install --quiet --locked --debug --root target/tools --no-default-features "mdbook@$version"
fi

rm -rf $book
mkdir -p $book/source/manual
git ls-files '*.md' ':!findings' | grep -v '^docs/SUMMARY.md$' | while read -r page; do
	mkdir -p "$book/source/$(dirname "$page")"
	cp "$page" "$book/source/$page"
done
cp LICENSE docs/book.toml $book/source/
# Its links lead from docs/; the copy lies at the top.
sed -e 's,](,](docs/,' -e 's,](docs/\.\./,](,' docs/SUMMARY.md >$summary
git ls-files 'docs/guide/*.svg' | while read -r picture; do cp "$picture" $book/source/docs/guide/; done

# The manual: the reference of verbs, options, directives, exit codes and files.
printf '\n# Manual pages\n\n' >>$summary
for page in packaging/man/*.[0-9] target/man/*.[0-9]; do
	[ -e "$page" ] || { echo "make-book: $page is missing: run \`make release\`" >&2; exit 1; }
	name=$(basename "$page")
	[ ! -e "$book/source/manual/$name.$md" ] || continue
	# A page that only leads to another one has no text of its own.
	! grep -q '^\.so ' "$page" || continue
	# HTML in Markdown ends at an empty line.
	{ printf '# %s(%s)\n\n' "${name%.*}" "${name##*.}"; mandoc -T html -O fragment "$page" | sed 's/^$/<!-- -->/'; } \
		>"$book/source/manual/$name.$md"
	printf -- '- [%s(%s)](manual/%s.%s)\n' "${name%.*}" "${name##*.}" "$name" $md >>$summary
done

mdbook build $book/source
# A chapter that is listed and was not made, or is empty, is an error.
sed -n 's/.*](\(.*\)\.md).*/\1/p' $summary | while read -r chapter; do
	html=$book/html/$chapter.html
	[ "$(basename "$chapter")" != README ] || html=$book/html/$(dirname "$chapter")/index.html
	[ "$(sed -n '/<main>/,/<\/main>/p' "$html" | wc -c)" -gt 500 ] || { echo "make-book: $html is empty" >&2; exit 1; }
done
echo "The book is in $book/html"
