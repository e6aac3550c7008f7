#!/bin/sh
# Checks every shader: resolves its includes, then runs naga, and tint if it is installed.
# Usage: scripts/check-shaders.sh [shader.wgsl …]   (default: all of shaders/)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
command -v naga >/dev/null || {
    echo "error: naga is not installed: run 'cargo install naga-cli'" >&2
    exit 2
}
checkers=naga
if command -v tint >/dev/null; then
    checkers="naga and tint"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Replaces each line `//!include shared/x.wgsl` by that file.
resolve() {
    awk -v shaders="$root/shaders" '
        /^\/\/!include / {
            path = shaders "/" $2
            while ((status = (getline line < path)) > 0) print line
            if (status < 0) { print "error: no file " path > "/dev/stderr"; exit 1 }
            close(path)
            next
        }
        { print }' "$1"
}

if [ $# -eq 0 ]; then
    set -- "$root"/shaders/*.wgsl
fi
count=0
failed=0
for file in "$@"; do
    name=$(basename "$file" .wgsl)
    resolved="$folder/$name.wgsl"
    wrong=""
    resolve "$file" >"$resolved" || wrong="include"
    grep -q "^fn $name(" "$resolved" || wrong="$wrong entry-point"
    naga "$resolved" >"$folder/log" 2>&1 || wrong="$wrong naga"
    if [ "$checkers" != naga ]; then
        tint --format wgsl -o /dev/null "$resolved" >>"$folder/log" 2>&1 || wrong="$wrong tint"
    fi
    count=$((count + 1))
    if [ -n "$wrong" ]; then
        failed=$((failed + 1))
        echo "error: $file: wrong by:$wrong" >&2
        cat "$folder/log" >&2
    fi
done
echo "checked $count shaders with $checkers: $failed failed"
[ "$failed" -eq 0 ]
