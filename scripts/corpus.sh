#!/usr/bin/env bash
# Fetches the documents of the judged questions (tests/retrieval) into a folder: Debian packages, unpacked without being
# installed, so no root is needed. Does nothing where the same versions are there already.
#   scripts/corpus.sh [FOLDER]      default: $CALLBOARD_CORPUS, or ~/.cache/callboard/judged-documents
set -euo pipefail
folder=${1:-${CALLBOARD_CORPUS:-${XDG_CACHE_HOME:-$HOME/.cache}/callboard/judged-documents}}
# The judgements quote these versions.
packages=(debian-reference-en=2.100 debian-reference-zh-tw=2.100 debian-faq=11.1 maint-guide-zh-tw=1.2.53 manpages-zh=1.6.4.0-1)
# Raise when what is taken out of the packages changes.
layout=1
pages=(1/cal 1/cat 1/chattr 1/chgrp 1/chmod 1/chown 1/cp 1/cut 1/date 1/dd 1/df 1/diff 1/du 1/find 1/free 1/grep 1/gzip
  1/head 1/hostnamectl 1/iconv 1/journalctl 1/kill 1/killall 1/last 1/ln 1/localectl 1/loginctl 1/ls 1/lsattr 1/mkdir
  1/mv 1/nice 1/nohup 1/rm 1/scp 1/sed 1/seq 1/shuf 1/sort 1/split 1/stat 1/systemctl 1/tail 1/tar 1/tee 1/timedatectl
  1/timeout 1/touch 1/tr 1/truncate 1/uniq 1/wc 1/who 1/xargs 5/host.conf 5/journald.conf 5/locale.conf 5/logind.conf
  5/nologin 5/os-release 5/sysctl.d 8/badblocks 8/cron 8/dmesg 8/fdisk 8/fsck 8/ifconfig 8/iptables 8/losetup 8/mkswap
  8/netstat 8/ping 8/route 8/shutdown 8/swapon 8/tcpdump 8/umount 8/vmstat)
wanted="$layout ${packages[*]}"
[ "$(cat "$folder/VERSIONS" 2>/dev/null)" = "$wanted" ] && exit 0

for program in apt-get dpkg-deb awk gzip; do
  command -v "$program" >/dev/null || { echo "corpus: $program is not there; a Debian or Ubuntu machine has it" >&2; exit 1; }
done
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/new"
echo "corpus: fetching ${packages[*]} into $folder" >&2
fetch() { (cd "$work/debs" && apt-get download -qq "${packages[@]}") >"$work/log" 2>&1; }
as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
if ! fetch && ! { "${as_root[@]}" apt-get update -qq && fetch; } >>"$work/log" 2>&1; then
  cat "$work/log" >&2
  echo "corpus: these versions cannot be fetched: the judgements need Debian 12 (bookworm) in apt's sources" >&2
  exit 1
fi
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/files"; done

# A manual page as Markdown, as far as reading and finding need it.
as_markdown='
function clean(s) {
  gsub(/\\f\[[A-Za-z]*\]|\\f\([A-Z][A-Z]|\\f./, "", s); gsub(/\\s[-+]?[0-9]+/, "", s); gsub(/\\\(aq/, "\047", s)
  gsub(/\\\(co/, "(c)", s); gsub(/\\\(bu/, "*", s); gsub(/\\-/, "-", s); gsub(/\\[&,\/|^%]/, "", s); gsub(/\\[ ~]/, " ", s)
  gsub(/\\e/, "\\", s); return s
}
function words(s, glue,   out, word, c, i, quoted, open) {
  out = ""; word = ""; quoted = 0; open = 0
  for (i = 1; i <= length(s); i++) {
    c = substr(s, i, 1)
    if (c == "\\" ) { word = word c substr(s, i + 1, 1); i++; open = 1 }
    else if (c == "\"") { quoted = !quoted; open = 1 }
    else if (c == " " && !quoted) { if (open) out = out (out == "" ? "" : glue) word; word = ""; open = 0 }
    else { word = word c; open = 1 }
  }
  if (open) out = out (out == "" ? "" : glue) word
  return clean(out)
}
/^\.\\"|^\047\\"|^\.$/ { next }
/^\.de/ { macro = 1 } macro { if ($0 ~ /^\.\./) macro = 0; next }
/^\.TH/ { split($0, part, " "); gsub(/"/, "", part[2]); gsub(/"/, "", part[3]); print "# " tolower(part[2]) "(" part[3] ")\n"; next }
/^\.SH/ { print "\n## " words(substr($0, 5), " ") "\n"; next }
/^\.SS/ { print "\n### " words(substr($0, 5), " ") "\n"; next }
/^\.(nf|EX)/ { print "\n```"; fenced = 1; next }
/^\.(fi|EE)/ { if (fenced) print "```\n"; fenced = 0; next }
/^\.(B|I|SM|R)( |$)/ { print words(substr($0, 4), " "); next }
/^\.(BR|BI|IB|IR|RB|RI)( |$)/ { print words(substr($0, 5), ""); next }
/^\.IP/ { print "\n" words($2 ~ /^"/ ? substr($0, 5) : $2, " "); next }
/^\.(TP|TQ|PP|P|LP|HP|sp|RS|RE|br)( |$|[0-9])/ { if (!fenced) print ""; next }
/^[.\047]/ { next }
{ print clean($0) }
END { if (fenced) print "```" }'

copy() { mkdir -p "$work/new/$1"; cp "${@:2}" "$work/new/$1/"; }
files="$work/files/usr/share"
copy debian-reference-en "$files"/debian-reference/{ch,pr,apa}*.en.html
copy debian-reference-zh-tw "$files"/debian-reference/{ch,pr,apa}*.zh-tw.html
copy debian-faq "$files"/doc/debian/FAQ/*.en.html
copy maint-guide-zh-tw "$files"/doc/maint-guide-zh-tw/html/*.zh-tw.html
mkdir "$work/new/manpages-zh-tw"
for page in "${pages[@]}"; do
  section=${page%%/*} name=${page#*/}
  source="$files/man/zh_TW/man$section/$name.$section.gz"
  [ -e "$source" ] || continue
  gzip -dc "$source" | awk "$as_markdown" | cat -s >"$work/new/manpages-zh-tw/$name.$section.md"
done
echo "$wanted" >"$work/new/VERSIONS"
rm -rf "$folder"
mv "$work/new" "$folder"
