# Google's cluster-usage trace of May 2011, task events, as CSV for the event log
# (time,source,id,resource,account,entity,action,offering,value).
#
# A row of the trace: 1 time, 2 missing info, 3 job, 4 task, 5 machine, 6 type of event, 7 user, 8 scheduling class,
# 9 priority, 10 CPU request, 11 memory request, 12 disk request, 13 constraint. Its time is in microseconds: 600 s are
# 2011-05-01 19:00 in the datacenter, which is 23:00 UTC, and 0 stands for everything before. Every row becomes an
# event, also those that no meter asks for (submit, update-pending).

BEGIN {
	FS = OFS = ","
	split("submit schedule evict fail finish kill lost update-pending update-running", action, " ")
	start = 23 * 3600 - 600
}

# The trace is 29 days long; a time beyond it stands for everything after.
$1 < 2592000000000 {
	seconds = start + int($1 / 1000000)
	time = sprintf("2011-05-%02dT%02d:%02d:%02d.%06dZ", 1 + seconds / 86400, seconds % 86400 / 3600,
		seconds % 3600 / 60, seconds % 60, $1 % 1000000)
	print time, "borg", "", $3 "-" $4, $7, "task", action[$6 + 1], $8, $10
}
