#!/usr/bin/env bash
# Makes the two faces that reports on paper carry: Noto Sans of Debian's fonts-noto-core, cut down to European scripts, without hints and shaping tables, which
# nothing here uses. Needs Debian's `fonttools`. The files are committed, so that a build asks nobody; `OFL.txt` is their licence.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download fonts-noto-core && dpkg-deb -x fonts-noto-core_*.deb .)
for face in Regular Bold; do
    # Latin, its first two extensions, Greek, Cyrillic; dashes, quotes, euro, and the sign for what no face has.
    pyftsubset "$work/usr/share/fonts/truetype/noto/NotoSans-$face.ttf" --output-file="NotoSans-$face.ttf" \
        --unicodes=20-7E,A0-17F,218-21B,386-3CE,400-45F,490,491,1E9E,2009,2010-2015,2018-201E,2020-2022,2026,202F,2030,2039,203A,20AC,2116,2122,2212,FFFD \
        --layout-features='' --no-hinting --desubroutinize --name-IDs='0,1,2,3,4,5,6,7,13,14' --drop-tables+=GDEF,GPOS,GSUB,DSIG,gasp
done
