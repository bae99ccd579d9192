/*
 * calendar.c
 *	  The calendar: when the local days of a stream's zones begin, as recorded.
 *
 * The server's rules of a time zone change with the law, and differ from one
 * machine to the next.  What was billed by them must not move.  So _calendar
 * has the first instant of each local day that usage was computed with, up to
 * the first day that begins at or after the watermark: the day that is settled
 * in part is known to its end.  What a step asks the server's rules for it
 * records when it stores the watermark, in the same transaction.
 *
 * Recorded days are the truth, whatever the server says.  Before, between and
 * after them the server's rules count, but a day begins no earlier than a
 * recorded one before it, and no later than a recorded one after it.
 *
 * Nothing is recorded for UTC and zones of a fixed offset: nothing can change
 * there.
 *
 * Days are recorded last in a step, so a step waits for another one that
 * records the same days no longer than a commit takes, or as long as somebody
 * keeps a transaction open that made steps.  If the two processes
 * have other rules, the second one fails, and its next step uses what the first
 * one recorded.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "catalog/calendar.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "pg/spi.h"
#include "pg/timezone.h"

/* A day and its first instant. */
typedef struct Day
{
	int32		day;			/* 2000-01-01 is 0; the key of a hash table */
	int64		begin;
} Day;

/*
 * The days of a zone in a stream.  What was asked for that is not recorded is
 * kept, with the answer: it is what usage was computed with.
 */
struct MeterCalendar
{
	MeterZone	zone;			/* what a grid asks */
	const MeterZone *server;	/* the server's rules; NULL: it has none */
	char	   *stream;
	char	   *timezone;
	Day		   *recorded;		/* in the order of days */
	int			nrecorded;
	HTAB	   *asked;			/* of Day */
};

/* Raise that the server has no rules for a zone. */
static void
no_rules(const MeterCalendar *calendar)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("time zone \"%s\" not recognized", calendar->timezone),
			 errdetail("The server no longer has a time zone of that name."),
			 errhint("Drop the meter and create it again under another name of the zone, which pg_timezone_names lists: it goes on with the same ledger.")));
}

/* Return the number of recorded days before a day. */
static int
recorded_before(const MeterCalendar *calendar, int32 day)
{
	int			low = 0;
	int			high = calendar->nrecorded;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (calendar->recorded[middle].day < day)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Look up a recorded day, or return NULL. */
static const Day *
find_recorded(const MeterCalendar *calendar, int32 day)
{
	int64		place;

	if (calendar->nrecorded == 0)
		return NULL;
	/* mostly the days follow one another */
	place = (int64) day - calendar->recorded[0].day;
	if (place < 0)
		return NULL;
	if (place >= calendar->nrecorded || calendar->recorded[place].day != day)
		place = recorded_before(calendar, day);
	if (place < calendar->nrecorded && calendar->recorded[place].day == day)
		return &calendar->recorded[place];
	return NULL;
}

/* Return when a day begins that is not recorded. */
static int64
begin_by_rules(const MeterCalendar *calendar, int32 day)
{
	int			next = recorded_before(calendar, day);
	int64		begin;

	if (calendar->server == NULL)
		no_rules(calendar);
	begin = calendar->server->midnight(calendar->server->arg, day);
	if (next > 0)
		begin = Max(begin, calendar->recorded[next - 1].begin);
	if (next < calendar->nrecorded)
		begin = Min(begin, calendar->recorded[next].begin);
	return begin;
}

/* Implement midnight() of MeterZone. */
static int64
calendar_midnight(void *arg, int32 day)
{
	MeterCalendar *calendar = arg;
	const Day  *recorded = find_recorded(calendar, day);
	Day		   *asked;
	int64		begin;
	bool		found;

	if (recorded != NULL)
		return recorded->begin;
	asked = hash_search(calendar->asked, &day, HASH_FIND, NULL);
	if (asked != NULL)
		return asked->begin;
	begin = begin_by_rules(calendar, day);
	asked = hash_search(calendar->asked, &day, HASH_ENTER, &found);
	asked->begin = begin;
	return begin;
}

/* Implement day_near() of MeterZone: the date in UTC is near. */
static int32
calendar_day_near(void *arg pg_attribute_unused(), int64 instant)
{
	return meter_zone_day_near(instant);
}

/*
 * Read the recorded days of a zone.  Days never run backwards, whatever
 * somebody has written into the table.
 */
static void
read_days(MeterCalendar *calendar)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(calendar->timezone)};
	uint64		row;
	bool		isnull;

	if (!OidIsValid(get_namespace_oid(calendar->stream, true)))
		return;
	meter_session_begin(&session, meter_stream_owner(calendar->stream));
	meter_execute_params(psprintf("SELECT day, starts_at FROM %s._calendar WHERE timezone = $1 ORDER BY day",
								  quote_identifier(calendar->stream)),
						 SPI_OK_SELECT, 1, types, values, NULL);
	calendar->recorded = MemoryContextAllocHuge(context,
												Max(SPI_processed, 1) * sizeof(Day));
	calendar->nrecorded = (int) SPI_processed;
	for (row = 0; row < SPI_processed; row++)
	{
		Day		   *day = &calendar->recorded[row];

		day->day = DatumGetDateADT(meter_result(row, 1, &isnull));
		day->begin = DatumGetTimestampTz(meter_result(row, 2, &isnull));
		if (row > 0)
			day->begin = Max(day->begin, day[-1].begin);
	}
	meter_session_end(&session);
}

/* Return a calendar without recorded days. */
static MeterCalendar *
make_calendar(const char *stream, const char *timezone,
			  const MeterZone *server)
{
	MeterCalendar *calendar = palloc0(sizeof(MeterCalendar));
	HASHCTL		control = {0};

	control.keysize = sizeof(int32);
	control.entrysize = sizeof(Day);
	control.hcxt = CurrentMemoryContext;
	calendar->asked = hash_create("days asked for", 32, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	calendar->zone.midnight = calendar_midnight;
	calendar->zone.day_near = calendar_day_near;
	calendar->zone.arg = calendar;
	calendar->server = server;
	calendar->stream = pstrdup(stream);
	calendar->timezone = pstrdup(timezone);
	return calendar;
}

/*
 * Load the calendar of a zone in a stream, or return NULL for UTC.  A zone that
 * the server does not have is no error here: what is asked of its recorded days
 * can be answered.
 */
MeterCalendar *
meter_calendar_load(const char *stream, const char *timezone)
{
	const MeterZone *server;
	MeterCalendar *calendar;

	if (!meter_zone_find(timezone, &server))
		server = NULL;
	else if (server == NULL)
		return NULL;
	calendar = make_calendar(stream, timezone, server);
	read_days(calendar);
	return calendar;
}

/* Return the zone that a grid asks; NULL is UTC. */
const MeterZone *
meter_calendar_zone(const MeterCalendar *calendar)
{
	return calendar == NULL ? NULL : &calendar->zone;
}

/* Tell whether the server has rules for the days that are not recorded. */
bool
meter_calendar_has_rules(const MeterCalendar *calendar)
{
	return calendar == NULL || calendar->server != NULL;
}

/* Raise an error if the server has no rules for the zone. */
void
meter_calendar_require(const MeterCalendar *calendar)
{
	if (!meter_calendar_has_rules(calendar))
		no_rules(calendar);
}

/* Return the first day that begins at or after an instant. */
static int32
first_day_from(MeterCalendar *calendar, TimestampTz instant)
{
	MeterGrid	grid;
	int32		day;

	meter_grid_init(&grid, &calendar->zone);
	day = meter_grid_day(&grid, instant);
	if (calendar_midnight(calendar, day) < instant)
		return day + 1;
	/* days that were skipped begin with the next one */
	while (calendar_midnight(calendar, day - 1) == instant)
		day--;
	return day;
}

/* Compare days, for qsort. */
static int
compare_days(const void *a, const void *b)
{
	int32		one = ((const Day *) a)->day;
	int32		other = ((const Day *) b)->day;

	return one < other ? -1 : one > other;
}

/*
 * Return the days asked for up to `last` that can be stored, in their order:
 * two steps that record days wait for each other in one order only.
 */
static Day *
list_asked(MeterCalendar *calendar, int32 last, int *count)
{
	Day		   *days = palloc(Max(hash_get_num_entries(calendar->asked), 1) *
							  sizeof(Day));
	HASH_SEQ_STATUS status;
	const Day  *day;

	*count = 0;
	hash_seq_init(&status, calendar->asked);
	while ((day = hash_seq_search(&status)) != NULL)
	{
		if (day->day <= last && IS_VALID_DATE(day->day) &&
			IS_VALID_TIMESTAMP(day->begin))
			days[(*count)++] = *day;
	}
	qsort(days, *count, sizeof(Day), compare_days);
	return days;
}

/* Insert days, and see that nobody else has recorded them otherwise. */
static void
insert_days(const MeterCalendar *calendar, const Day *days, int count)
{
	const char *schema = quote_identifier(calendar->stream);
	Datum	   *dates = palloc(count * sizeof(Datum));
	Datum	   *begins = palloc(count * sizeof(Datum));
	Oid			types[3] = {TEXTOID, DATEARRAYOID, TIMESTAMPTZARRAYOID};
	Datum		values[3];
	MeterSession session;
	int			i;

	for (i = 0; i < count; i++)
	{
		dates[i] = DateADTGetDatum(days[i].day);
		begins[i] = TimestampTzGetDatum(days[i].begin);
	}
	values[0] = CStringGetTextDatum(calendar->timezone);
	values[1] = PointerGetDatum(construct_array(dates, count, DATEOID,
												sizeof(DateADT), true, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(begins, count, TIMESTAMPTZOID,
												sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	meter_session_begin(&session, meter_stream_owner(calendar->stream));
	meter_execute_params(psprintf("INSERT INTO %s._calendar (timezone, day, starts_at) "
								  "SELECT $1, d.day, d.starts_at FROM unnest($2, $3) WITH ORDINALITY d (day, starts_at, place) "
								  "ORDER BY d.place ON CONFLICT DO NOTHING", schema),
						 SPI_OK_INSERT, 3, types, values, NULL);
	if (SPI_processed < (uint64) count)
	{
		meter_execute_params(psprintf("SELECT c.day::text FROM unnest($2, $3) d (day, starts_at) "
									  "JOIN %s._calendar c ON c.timezone = $1 AND c.day = d.day "
									  "WHERE c.starts_at <> d.starts_at ORDER BY 1 LIMIT 1", schema),
							 SPI_OK_SELECT, 3, types, values, NULL);
		if (SPI_processed > 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("another session has recorded that %s begins at another instant in time zone \"%s\"",
							meter_result_text(0, 1), calendar->timezone),
					 errhint("The rules of the zone have just changed. The next step uses what is recorded.")));
	}
	meter_session_end(&session);
}

/*
 * Record the days that usage up to a watermark was computed with: those that
 * were asked for, and all from `from` on (DT_NOEND: none), up to the first one
 * that begins at or after the watermark.
 */
void
meter_calendar_record(MeterCalendar *calendar, TimestampTz from,
					  TimestampTz watermark)
{
	MeterGrid	grid;
	int32		last;
	int32		day;
	Day		   *days;
	int			count;

	if (calendar == NULL || calendar->server == NULL ||
		TIMESTAMP_NOT_FINITE(watermark))
		return;
	/* a zone can become one of a fixed offset, and cease to be one */
	if (meter_zone_is_fixed(calendar->server) && calendar->nrecorded == 0)
		return;
	last = first_day_from(calendar, watermark);
	if (!TIMESTAMP_NOT_FINITE(from))
	{
		meter_grid_init(&grid, &calendar->zone);
		for (day = meter_grid_day(&grid, from); day <= last; day++)
		{
			CHECK_FOR_INTERRUPTS();
			(void) calendar_midnight(calendar, day);
		}
	}
	days = list_asked(calendar, last, &count);
	if (count > 0)
		insert_days(calendar, days, count);
}

/*
 * Tell whether two names are of one zone, as far as days are recorded under the
 * first: the server's rules begin them alike.  If the server no longer has the
 * first name, most days must begin as they were recorded; the others may be
 * those for which the rules have changed.
 */
static bool
is_same_zone(const MeterCalendar *before, const MeterZone *zone)
{
	int			alike = 0;
	int			i;

	for (i = 0; i < before->nrecorded; i++)
	{
		const Day  *day = &before->recorded[i];
		int64		begin = zone->midnight(zone->arg, day->day);

		if (before->server == NULL)
			alike += begin == day->begin ? 1 : 0;
		else if (begin == before->server->midnight(before->server->arg, day->day))
			alike++;
	}
	return before->server == NULL ? alike > before->nrecorded / 2 :
		alike == before->nrecorded;
}

/*
 * If the ledger has usage of a meter that was settled under another name of the
 * same zone, take over the days that were recorded under that name: what was
 * billed by them stays as it is.
 */
void
meter_calendar_take_over(const char *stream, const char *meter,
						 const char *timezone)
{
	const char *schema = quote_identifier(stream);
	MeterSession session;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(meter), CStringGetTextDatum(timezone)};
	const MeterZone *zone = meter_zone_lookup(timezone);
	const MeterZone *server;
	MemoryContext context = CurrentMemoryContext;
	MeterCalendar *before;
	char	   *name = NULL;

	if (zone == NULL)
		return;
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute_params(psprintf("SELECT timezone FROM %s.settlement WHERE meter = $1 ORDER BY settlement DESC LIMIT 1",
								  schema), SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		name = MemoryContextStrdup(context, meter_result_text(0, 1));
	meter_session_end(&session);
	if (name == NULL || strcmp(name, timezone) == 0)
		return;

	if (!meter_zone_find(name, &server))
		server = NULL;
	else if (server == NULL)
		return;
	before = make_calendar(stream, name, server);
	read_days(before);
	if (before->nrecorded == 0 || !is_same_zone(before, zone))
		return;
	values[0] = CStringGetTextDatum(name);
	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute_params(psprintf("INSERT INTO %s._calendar (timezone, day, starts_at) "
								  "SELECT $2, day, starts_at FROM %s._calendar WHERE timezone = $1 "
								  "ORDER BY day ON CONFLICT DO NOTHING", schema, schema),
						 SPI_OK_INSERT, 2, types, values, NULL);
	meter_session_end(&session);
}

/*
 * Forget the days of a zone that nothing was settled with: those after the
 * first one at or after the greatest watermark, of the meters that there are
 * and of those that have left usage in the ledger.  The caller has taken a
 * watermark back, and holds the rows of all meters of the stream, so that no
 * step is using these days.
 */
void
meter_calendar_forget(const char *stream, const char *timezone)
{
	const char *schema = quote_identifier(stream);
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	Oid			types[3] = {TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID};
	Datum		values[3] = {CStringGetTextDatum(timezone), 0, 0};
	Oid			stream_types[2] = {TEXTOID, TEXTOID};
	Datum		stream_values[2] = {CStringGetTextDatum(stream), values[0]};
	Oid			day_types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		day_values[2] = {values[0], 0};
	char		nulls[3] = {' ', ' ', ' '};
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT coalesce(array_agg(name::text), '{}'), max(watermark) FILTER (WHERE timezone = $2) "
						 "FROM meter.meter WHERE stream = $1",
						 SPI_OK_SELECT, 2, stream_types, stream_values, NULL);
	values[1] = meter_result_copy(context, 1, &isnull);
	values[2] = meter_result(0, 2, &isnull);
	nulls[2] = isnull ? 'n' : ' ';
	meter_session_end(&session);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute_params(psprintf("SELECT coalesce(greatest($3, max(s.watermark)), '-infinity') FROM %s.settlement s "
								  "WHERE s.timezone = $1 AND s.meter <> ALL ($2)",
								  schema),
						 SPI_OK_SELECT, 3, types, values, nulls);
	day_values[1] = meter_result(0, 1, &isnull);
	meter_execute_params(psprintf("DELETE FROM %s._calendar WHERE timezone = $1 AND day > "
								  "(SELECT min(c.day) FROM %s._calendar c WHERE c.timezone = $1 AND c.starts_at >= $2)",
								  schema, schema),
						 SPI_OK_DELETE, 2, day_types, day_values, NULL);
	meter_session_end(&session);
}
