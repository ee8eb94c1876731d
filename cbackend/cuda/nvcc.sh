#!/bin/sh
# nvcc.sh REPORT COMMAND...: runs the compiler; its notes on registers and spills go to the file REPORT,
# everything else that it says to the terminal.
report=$1
shift
"$@" 2>"$report.all"
status=$?
grep -E '^ptxas info|^ +[0-9]+ bytes stack' "$report.all" >"$report"
grep -vE '^ptxas info|^ +[0-9]+ bytes stack|^$' "$report.all" >&2
rm -f "$report.all"
exit $status
