/*
 * month.c
 *	  Months: the ledger is partitioned by the UTC month in which a period
 *	  begins.
 *
 * A month is made when the first row of it is written, a table that is attached:
 * that waits for nobody, as long as there is no default partition.  A month of
 * which rows are written while it is made is a month that two steps may make at
 * once, and each holds its meter's row.  So months are never made within a step:
 * the step notes those that it lacks, here, and raises METER_ERRCODE_NO_MONTH;
 * what it has done is undone, and its lock is gone; whoever called it has them
 * made, and calls it again.  The worker and meter.run() do so in a transaction of
 * its own.
 *
 * One at a time makes months of a stream: whoever has
 * ShareUpdateExclusiveLock on its ledger, which writers and readers do not wait
 * for.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/access.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "log/month.h"
#include "pg/cluster.h"
#include "pg/now.h"
#include "pg/shard.h"
#include "pg/spi.h"

/* So many months after the current one are made before they are needed. */
#define MONTHS_AHEAD	2

/* Of windows of so many months it is looked first which of them are missing. */
#define MONTHS_AT_ONCE	36

/* Months are numbered from January 1970; all that is older is -1. */
#define FIRST_YEAR	1970

/* The months that a meter lacks. */
typedef struct Lacking
{
	char	   *stream;
	char	   *meter;
	Bitmapset  *months;			/* their numbers, plus 1 */
} Lacking;

/* Those that steps of this process have noted. */
static List *lacking = NIL;

/* Return the month that an instant lies in, in UTC. */
int
meter_month_of(TimestampTz instant)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_IS_NOBEGIN(instant))
		return METER_MONTH_OLDER;
	if (timestamp2tm(instant, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return Max((tm.tm_year - FIRST_YEAR) * MONTHS_PER_YEAR + tm.tm_mon - 1, -1);
}

/* Return the instant at which a month begins. */
TimestampTz
meter_month_begin(int month)
{
	if (month == METER_MONTH_OLDER)
		return DT_NOBEGIN;
	return (date2j(FIRST_YEAR + month / MONTHS_PER_YEAR,
				   month % MONTHS_PER_YEAR + 1, 1) - POSTGRES_EPOCH_JDATE) *
		USECS_PER_DAY;
}

/* Return the name of a partition. */
char *
meter_month_name(const char *table, int month)
{
	if (month == METER_MONTH_OLDER)
		return psprintf("_%s_older", table);
	return psprintf("_%s_%04d_%02d", table,
					FIRST_YEAR + month / MONTHS_PER_YEAR,
					month % MONTHS_PER_YEAR + 1);
}

/*
 * Tell whether a name is that of a partition of a table, and of which month
 * (NULL: nobody asks).
 */
bool
meter_is_month_of(const char *partition, const char *table, int *month)
{
	size_t		length = strlen(table);
	const char *rest = partition + 1 + length;
	int			found = METER_MONTH_OLDER;

	if (partition[0] != '_' || strncmp(partition + 1, table, length) != 0)
		return false;
	if (strcmp(rest, "_older") != 0)
	{
		if (strlen(rest) != 8 || rest[0] != '_' || rest[5] != '_' ||
			strspn(rest + 1, "0123456789") != 4 ||
			strspn(rest + 6, "0123456789") != 2)
			return false;
		found = (atoi(rest + 1) - FIRST_YEAR) * MONTHS_PER_YEAR +
			atoi(rest + 6) - 1;
	}
	if (month != NULL)
		*month = found;
	return true;
}

/* Return the bounds of a partition as ATTACH takes them. */
char *
meter_month_bounds(const char *table, int month, int first)
{
	const MeterMonthly *monthly;
	const char *begin;
	const char *end;

	for (monthly = meter_monthly_tables;
		 strcmp(monthly->table, table) != 0; monthly++)
		;
	end = psprintf(monthly->bound,
				   meter_timestamp_literal(meter_month_begin(month == METER_MONTH_OLDER ?
															 first : month + 1)));
	begin = month == METER_MONTH_OLDER ? "MINVALUE" :
		psprintf(monthly->bound,
				 meter_timestamp_literal(meter_month_begin(month)));
	return psprintf("FROM (%s) TO (%s)", begin, end);
}

/*
 * List the partitions of a table that are months, by their names, in order: what
 * is older than the first one comes first.  Within a session.
 */
List *
meter_list_months(const char *stream, const char *table)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *months = NIL;
	int			month;
	uint64		i;

	meter_execute(psprintf("SELECT c.relname FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid "
						   "JOIN pg_class t ON t.oid = i.inhparent AND t.relname = '%s' "
						   "WHERE t.relnamespace = %u ORDER BY c.relname ~ '_older$' DESC, c.relname COLLATE \"C\"",
						   table, get_namespace_oid(stream, false)),
				  SPI_OK_SELECT);
	MemoryContextSwitchTo(context);
	for (i = 0; i < SPI_processed; i++)
	{
		char	   *name = meter_result_text(i, 1);

		if (meter_is_month_of(name, table, &month))
			months = lappend(months, name);
	}
	return months;
}

/*
 * Return the first month that was made in a stream, or METER_MONTH_OLDER if
 * there is none.  Within a session of the stream's owner.
 */
int
meter_first_month(const char *stream)
{
	const char *table = meter_monthly_tables[0].table;
	int			first = METER_MONTH_OLDER;
	TimestampTz detached;
	ListCell   *cell;

	foreach(cell, meter_list_months(stream, table))
	{
		if (meter_is_month_of(lfirst(cell), table, &first) &&
			first != METER_MONTH_OLDER)
			break;
	}
	meter_execute_row(psprintf("SELECT min(month) FROM %s._detached WHERE isfinite(month)",
							   quote_identifier(stream)));
	if (meter_result_instant(1, &detached) &&
		(first == METER_MONTH_OLDER || meter_month_of(detached) < first))
		first = meter_month_of(detached);
	return first;
}

/*
 * Give a partition the guards of its table, those that it does not have.  Where
 * tenants are isolated, nobody but the owner reads it directly.
 */
void
meter_guard_month(const char *stream, const char *table, const char *partition)
{
	const char *schema = quote_identifier(stream);
	const MeterGuard *guard;

	/* on a cluster, privileges guard */
	if (meter_cluster_shards(stream, table) > 0)
		return;
	for (guard = meter_guards; guard->table != NULL; guard++)
	{
		if (strcmp(guard->table, table) == 0)
			meter_execute(psprintf("CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s.%s "
								   "FOR EACH STATEMENT EXECUTE FUNCTION %s.%s()",
								   guard->name, guard->events, schema,
								   partition, schema, guard->function),
						  SPI_OK_UTILITY);
	}
	if (meter_is_isolated(stream) && !meter_has_row_security(stream, partition))
		meter_execute_utility(stream,
							  psprintf("ALTER TABLE %s.%s ENABLE ROW LEVEL SECURITY",
									   schema, partition));
}

/* Give the guards of its table to each month of a stream.  Within a session. */
void
meter_guard_months(const char *stream)
{
	const MeterMonthly *monthly;
	ListCell   *cell;

	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
	{
		foreach(cell, meter_list_months(stream, monthly->table))
			meter_guard_month(stream, monthly->table, lfirst(cell));
	}
}

/* Tell whether a month of the ledger was detached. */
static bool
is_detached(const char *stream, int month)
{
	meter_execute(psprintf("SELECT FROM %s._detached WHERE month = %s",
						   quote_identifier(stream),
						   meter_timestamp_literal(meter_month_begin(month))),
				  SPI_OK_SELECT);
	return SPI_processed > 0;
}

/*
 * Make a partition of a table, unless it is there.  Returns whether it was
 * made.
 */
static bool
make_partition(const char *stream, const char *table, int month, int first)
{
	const char *schema = quote_identifier(stream);
	char	   *name = meter_month_name(table, month);
	Oid			known = get_relname_relid(name, get_namespace_oid(stream, false));

	if (OidIsValid(known) && get_rel_relispartition(known))
		return false;
	if (OidIsValid(known))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is no partition of \"%s\"", stream,
						name, table),
				 errhint("ALTER TABLE %s.%s ATTACH PARTITION %s.%s FOR VALUES %s.",
						 schema, table, schema, name,
						 meter_month_bounds(table, month, first))));
	meter_execute(psprintf("CREATE TABLE %s.%s (LIKE %s.%s INCLUDING ALL EXCLUDING COMMENTS)",
						   schema, name, schema, table), SPI_OK_UTILITY);
	meter_guard_month(stream, table, name);
	meter_execute(psprintf("ALTER TABLE %s.%s ATTACH PARTITION %s.%s FOR VALUES %s",
						   schema, table, schema, name,
						   meter_month_bounds(table, month, first)),
				  SPI_OK_UTILITY);
	return true;
}

/* Make the partitions of a month.  Returns whether one was made. */
static bool
make_month(const char *stream, int month, int first)
{
	const MeterMonthly *monthly;
	bool		made = false;

	for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
	{
		if (!monthly->detachable || !is_detached(stream, month))
			made |= make_partition(stream, monthly->table, month, first);
	}
	return made;
}

/* Let nobody else make or detach months of a stream. */
static void
lock_months(const char *stream)
{
	meter_execute(psprintf("LOCK TABLE %s.%s IN SHARE UPDATE EXCLUSIVE MODE",
						   quote_identifier(stream),
						   meter_monthly_tables[0].table), SPI_OK_UTILITY);
}

/* Find what a meter lacks, or NULL. */
static Lacking *
find_lacking(const char *stream, const char *meter)
{
	ListCell   *cell;

	foreach(cell, lacking)
	{
		Lacking    *entry = lfirst(cell);

		if (strcmp(entry->stream, stream) == 0 &&
			strcmp(entry->meter, meter) == 0)
			return entry;
	}
	return NULL;
}

/* Note that a row of a meter has no partition that it could go to. */
void
meter_lack_month(const char *stream, const char *meter,
				 TimestampTz period_start)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
	Lacking    *entry = find_lacking(stream, meter);

	if (entry == NULL)
	{
		entry = palloc0(sizeof(Lacking));
		entry->stream = pstrdup(stream);
		entry->meter = pstrdup(meter);
		lacking = lappend(lacking, entry);
	}
	entry->months = bms_add_member(entry->months,
								   meter_month_of(period_start) + 1);
	MemoryContextSwitchTo(before);
}

/* Tell whether a meter lacks months. */
bool
meter_lacks_months(const char *stream, const char *meter)
{
	return find_lacking(stream, meter) != NULL;
}

/* Forget what a meter lacks. */
static void
forget_lacking(Lacking *entry)
{
	lacking = list_delete_ptr(lacking, entry);
	bms_free(entry->months);
	pfree(entry->stream);
	pfree(entry->meter);
	pfree(entry);
}

/*
 * Find when a month begins that a meter lacks, the first of them, and forget it.
 * Returns false if there is none.
 */
bool
meter_next_lacking_month(const char *stream, const char *meter,
						 TimestampTz *begin)
{
	Lacking    *entry = find_lacking(stream, meter);
	int			member = entry == NULL ? -1 : bms_next_member(entry->months, -1);

	if (member < 0)
	{
		if (entry != NULL)
			forget_lacking(entry);
		return false;
	}
	entry->months = bms_del_member(entry->months, member);
	*begin = member == 0 ? MIN_TIMESTAMP : meter_month_begin(member - 1);
	return true;
}

/*
 * Raise that a meter lacks months, if it does.  What a shard lacks is told to
 * whoever asked for the work.
 */
void
meter_check_months(const char *stream, const char *meter, const char *table)
{
	Lacking    *entry = find_lacking(stream, meter);

	if (entry == NULL || meter_current_shard() != NULL)
		return;
	ereport(ERROR,
			(errcode(METER_ERRCODE_NO_MONTH),
			 errmsg("table \"%s.%s\" has no partition for the month %s",
					stream, table,
					timestamptz_to_str(meter_month_begin(Max(bms_next_member(entry->months, -1) - 1, 0))))));
}

/*
 * Raise that a meter lacks months before it writes usage of [from, to), if it
 * seems to: of long windows only those that usage comes for are made, and of
 * what is older than the first month that was made nothing is known here.
 */
void
meter_require_months(const char *stream, const char *meter, TimestampTz from,
					 TimestampTz to)
{
	Oid			schema = get_namespace_oid(stream, false);
	const char *table = meter_monthly_tables[0].table;
	int			last = meter_month_of(to - 1);
	int			month = meter_month_of(from);

	if (month < 0 || last - month >= MONTHS_AT_ONCE)
		return;
	if (OidIsValid(get_relname_relid(meter_month_name(table, METER_MONTH_OLDER),
									 schema)))
		return;
	for (; month <= last; month++)
	{
		if (!OidIsValid(get_relname_relid(meter_month_name(table, month), schema)))
			meter_lack_month(stream, meter, meter_month_begin(month));
	}
	meter_check_months(stream, meter, table);
}

/*
 * Make the months that a meter lacks, or those of them that nobody has made
 * meanwhile.  No lock on a meter may be held.
 */
void
meter_make_months(const char *stream, const char *meter)
{
	Lacking    *entry = find_lacking(stream, meter);
	MeterSession session;
	Bitmapset  *months;
	bool		older = false;
	int			first;
	int			member = -1;

	if (entry == NULL)
		return;
	months = bms_copy(entry->months);
	forget_lacking(entry);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	lock_months(stream);
	first = meter_first_month(stream);
	if (first == METER_MONTH_OLDER)
		first = Max(bms_next_member(months, -1) - 1, 0);
	while ((member = bms_next_member(months, member)) >= 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (member - 1 < first)
			older = true;
		else
			(void) make_month(stream, member - 1, first);
	}
	if (older)
	{
		/* what begins it was detached together with it, or is there */
		(void) make_month(stream, first, first);
		(void) make_month(stream, METER_MONTH_OLDER, first);
	}
	meter_session_end(&session);
}

/* Tell whether the months ahead are there. */
static bool
ahead_is_there(const char *stream, int current)
{
	Oid			schema = get_namespace_oid(stream, false);
	const MeterMonthly *monthly;
	int			month;

	for (month = current; month <= current + MONTHS_AHEAD; month++)
	{
		for (monthly = meter_monthly_tables; monthly->table != NULL; monthly++)
		{
			if (!OidIsValid(get_relname_relid(meter_month_name(monthly->table, month),
											  schema)))
				return false;
		}
	}
	return true;
}

/*
 * Make the current month and those ahead, in a stream that has a month.  Returns
 * whether one was made.
 */
bool
meter_make_months_ahead(const char *stream)
{
	int			current = Max(meter_month_of(meter_now()), 0);
	MeterSession session;
	bool		made = false;
	int			first;
	int			month;

	if (ahead_is_there(stream, current))
		return false;
	meter_session_begin(&session, meter_stream_owner(stream));
	if (meter_first_month(stream) != METER_MONTH_OLDER)
	{
		lock_months(stream);
		first = meter_first_month(stream);
		for (month = Max(current, first); month <= current + MONTHS_AHEAD; month++)
			made |= make_month(stream, month, first);
	}
	meter_session_end(&session);
	return made;
}

/* Summarize what was added to the months of a stream, as meter_try() calls it. */
static void
summarize(void *arg)
{
	const char *stream = arg;
	int			level = NewGUCNestLevel();
	MeterSession session;

	(void) set_config_option("lock_timeout", "200ms", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_execute(psprintf("SELECT brin_summarize_new_values(i.oid) FROM pg_class i "
						   "JOIN pg_am a ON a.oid = i.relam AND a.amname = 'brin' "
						   "JOIN pg_index x ON x.indexrelid = i.oid JOIN pg_inherits p ON p.inhrelid = x.indrelid "
						   "JOIN pg_class t ON t.oid = p.inhparent AND t.relname = '%s' "
						   "WHERE t.relnamespace = %u AND i.relispartition",
						   meter_monthly_tables[0].table,
						   get_namespace_oid(stream, false)), SPI_OK_SELECT);
	meter_session_end(&session);
	AtEOXact_GUC(false, level);
}

/*
 * Bring the indexes of the ledger of a stream that are summaries up to date.
 * Those of months that somebody has locked are left for another time.
 */
void
meter_summarize_months(const char *stream)
{
	ErrorData  *error = meter_try(summarize, unconstify(char *, stream));

	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	FreeErrorData(error);
}
