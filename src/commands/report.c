/*
 * report.c
 *	  meter.report_html(): an account's usage, as a page to look at.
 *
 * The tables of the stream are read as the caller, with row security: who may
 * see a part of them gets a page of that part.  What the caller may not read at
 * all is left out, and the page says so, except for totals: a page without them
 * would be none.  Who has the owner's rights reads as the owner, since no code of
 * the owner's may run with more than these: so do superusers.  What meters are is
 * read as the owner, too.
 *
 * All that is read is of one snapshot, so that its parts agree.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog/access.h"
#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/grid.h"
#include "core/report_page.h"
#include "pg/arguments.h"
#include "pg/now.h"
#include "pg/quantity.h"
#include "pg/spi.h"
#include "pg/timezone.h"
#include "types/timeline.h"
#include "types/transaction_id.h"

/* A period is at most so long. */
#define LONGEST_DAYS	400

/*
 * So many of each are shown; the page says how many more there are.  Each
 * adjustment costs a call of explain().
 */
#define MOST_RESOURCES		25
#define MOST_ADJUSTMENTS	25
#define MOST_REASONS		5

/* Usage that is being added up; a sum without numbers is not known. */
typedef struct Sums
{
	bool		has_settled;
	bool		has_open;
	Numeric		settled;
	Numeric		open;
} Sums;

typedef struct Resource
{
	char	   *name;
	Sums		sums;
	Numeric		both;			/* settled and open together */
	MeterReportSpan *spans;
	int			nspans;
	int			room;
} Resource;

/* A meter of the stream, and the account's usage of it. */
typedef struct Meter
{
	char	   *name;
	bool		dropped;
	MeterAggregate aggregate;
	int64		unit;
	char	   *timezone;
	MeterGrid  *grid;
	MeterProgress *progress;	/* NULL: dropped */
	Sums		sums;			/* without numbers: no usage of the account */
	List	   *labels;			/* of Jsonb: dimensions, in order */
	List	   *label_sums;		/* of Sums, for each of these */
	int32		first_day;
	int32		ndays;
	Sums	   *days;
	List	   *resources;		/* of Resource */
} Meter;

/* A report that is being made. */
typedef struct Making
{
	MemoryContext context;		/* of what the page is made of */
	MemoryContext row;			/* of one row */
	Oid			owner;			/* of the stream */
	List	   *meters;			/* of Meter, by name */
	Meter	   *meter;			/* of the last row */
	const pg_tz *zone;			/* of the page; NULL: UTC */
	MeterReport page;
} Making;

/* The parameters of the queries: what is asked for. */
enum Parameter
{
	ACCOUNT,
	FROM,
	TO,
	LEAST_ID,
	ID_LIMIT,
	STREAM,
	NPARAMETERS
};

static const Oid parameter_types[NPARAMETERS] = {
	TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, UUIDOID, TEXTOID
};

/* Rows of totals, and of the ledger, that are asked for. */
#define OF_TOTALS "account = $1 AND period_start >= $2 AND period_start < $3"
#define OF_LEDGER OF_TOTALS " AND transaction_id >= $4 AND transaction_id < $5"

/* --- texts ---------------------------------------------------------------- */

/* Return a text as UTF-8; in a database of no encoding, as it is. */
static char *
to_utf8(char *text)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII ? text :
		pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* Return a quantity as text, NULL if there is none. */
static char *
quantity_text(bool given, Numeric quantity)
{
	return !given ? NULL :
		DatumGetCString(DirectFunctionCall1(numeric_out,
											DirectFunctionCall1(numeric_trim_scale,
																NumericGetDatum(quantity))));
}

/* Return sums as texts. */
static MeterReportUsage
usage_texts(const Sums *sums)
{
	MeterReportUsage usage;

	usage.settled = quantity_text(sums->has_settled, sums->settled);
	usage.open = quantity_text(sums->has_open, sums->open);
	return usage;
}

/* Return an instant as text, in the time zone of the page. */
static const char *
tell(void *arg, int64 instant)
{
	const Making *making = arg;
	struct pg_tm tm;
	fsec_t		fraction;
	int			offset;
	char	   *text;

	if (timestamp2tm(instant, making->zone == NULL ? NULL : &offset, &tm,
					 &fraction, NULL, unconstify(pg_tz *, making->zone)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	text = psprintf("%04d-%02d-%02d %02d:%02d", tm.tm_year, tm.tm_mon,
					tm.tm_mday, tm.tm_hour, tm.tm_min);
	if (fraction != 0)
		return psprintf("%s:%02d.%06d", text, tm.tm_sec, (int) fraction);
	return tm.tm_sec == 0 ? text : psprintf("%s:%02d", text, tm.tm_sec);
}

/* Return what a meter measures, in words. */
static char *
measures_text(const Meter *meter)
{
	const char *unit = meter->unit == METER_SECOND ? "seconds" :
	meter->unit == METER_MINUTE ? "minutes" :
	meter->unit == METER_HOUR ? "hours" :
	meter->unit == METER_DAY ? "days of 24 hours" :
	psprintf("units of %s s", quantity_text(true, meter_quantity(meter->unit, METER_SECOND)));

	switch (meter->aggregate)
	{
		case METER_DURATION:
			return psprintf("time in %s", unit);
		case METER_WEIGHTED:
			return psprintf("value times time in %s", unit);
		case METER_RUNS:
			return pstrdup("runs that began");
		case METER_SUM:
			return pstrdup("sum of measures, in their unit");
		case METER_COUNT:
			return pstrdup("number of measures");
		case METER_MIN:
			return pstrdup("the least measure of each period and resource, added up, in their unit");
		case METER_MAX:
			return pstrdup("the greatest measure of each period and resource, added up, in their unit");
		case METER_LATEST:
			return pstrdup("the latest measure of each period and resource, added up, in their unit");
		case METER_UNIQUE:
			return pstrdup("number of different values of each period and resource, added up");
		case METER_COUNTER:
			return pstrdup("increase of counters, in their unit");
	}
	return pstrdup("");
}

/* Take the dimensions of usage, a jsonb, apart. */
static MeterReportLabel
read_label(Datum dimensions)
{
	Jsonb	   *jsonb = DatumGetJsonbP(dimensions);
	MeterReportLabel label = {NULL, 0};
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	MeterReportDimension *dimension = NULL;

	label.dimensions = palloc((JB_ROOT_COUNT(jsonb) + 1) * sizeof(MeterReportDimension));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			dimension = &label.dimensions[label.ndimensions++];
			dimension->name = to_utf8(pnstrdup(value.val.string.val, value.val.string.len));
			dimension->value = NULL;
		}
		else if (token == WJB_VALUE && dimension != NULL && value.type == jbvString)
			dimension->value = to_utf8(pnstrdup(value.val.string.val, value.val.string.len));
	}
	return label;
}

/* --- sums ----------------------------------------------------------------- */

/* Add a quantity to a sum, in the current memory context. */
static void
add_quantity(bool *has, Numeric *sum, Datum quantity)
{
	if (!*has)
		*sum = DatumGetNumericCopy(quantity);
	else
	{
		Numeric		before = *sum;

		*sum = DatumGetNumeric(DirectFunctionCall2(numeric_add,
												   NumericGetDatum(before),
												   quantity));
		pfree(before);
	}
	*has = true;
}

/* Add quantities of a row to sums; of each one that there is. */
static void
add_to_sums(Sums *sums, TupleTableSlot *slot, int settled, int open)
{
	if (!slot->tts_isnull[settled])
		add_quantity(&sums->has_settled, &sums->settled, slot->tts_values[settled]);
	if (!slot->tts_isnull[open])
		add_quantity(&sums->has_open, &sums->open, slot->tts_values[open]);
}

/* Add sums to sums. */
static void
add_sums(Sums *sums, const Sums *more)
{
	if (more->has_settled)
		add_quantity(&sums->has_settled, &sums->settled, NumericGetDatum(more->settled));
	if (more->has_open)
		add_quantity(&sums->has_open, &sums->open, NumericGetDatum(more->open));
}

/* Tell whether there is usage. */
static bool
is_used(const Sums *sums)
{
	return sums->has_settled || sums->has_open;
}

/* --- meters --------------------------------------------------------------- */

/* Make a grid of a zone and a period of a meter of which only these are left. */
static MeterGrid *
make_grid(const MeterZone *zone, const char *period)
{
	MeterGrid  *grid = palloc(sizeof(MeterGrid));

	meter_grid_init(grid, zone);
	meter_grid_set_period(grid, meter_interval_from_cstring(period));
	return grid;
}

/* Find the meters that there are. */
static void
find_meters(Making *making)
{
	ListCell   *cell;

	foreach(cell, meter_list_meters(making->page.stream, NULL, false))
	{
		MeterRef   *ref = lfirst(cell);
		MeterDefinition *definition = meter_load(ref->stream, ref->meter, METER_LOCK_NONE);
		Meter	   *meter = palloc0(sizeof(Meter));

		meter->name = definition->name;
		meter->aggregate = definition->aggregate;
		meter->unit = definition->unit;
		meter->progress = meter_load_progress(definition);
		/* of a zone that is gone, the days cannot be told */
		if (meter_calendar_has_rules(definition->calendar))
		{
			meter->timezone = definition->timezone;
			meter->grid = definition->grid;
		}
		else
		{
			meter->timezone = pstrdup("UTC");
			meter->grid = make_grid(NULL, definition->period);
		}
		making->meters = lappend(making->meters, meter);
	}
}

/* Find a meter by its name. */
static Meter *
find_meter(Making *making, const char *name)
{
	ListCell   *cell;

	foreach(cell, making->meters)
	{
		Meter	   *meter = lfirst(cell);

		if (strcmp(meter->name, name) == 0)
			return meter;
	}
	return NULL;
}

/* Add a meter of which only the ledger is left. */
static Meter *
add_dropped(Making *making, char *name, const char *aggregate, int64 unit,
			const char *period, char *timezone)
{
	Meter	   *meter = palloc0(sizeof(Meter));
	const MeterZone *zone;

	meter->name = name;
	meter->dropped = true;
	meter->aggregate = meter_parse_aggregate(aggregate);
	meter->unit = unit;
	if (!meter_zone_find(timezone, &zone))
		timezone = pstrdup("UTC");
	meter->timezone = timezone;
	meter->grid = make_grid(zone, period);
	making->meters = lappend(making->meters, meter);
	return meter;
}

/* The last settlement of each meter, from one meter to the next by their key. */
#define LAST_SETTLEMENTS \
	"WITH RECURSIVE m AS ((SELECT meter FROM %1$s.settlement ORDER BY meter LIMIT 1) " \
	"UNION ALL SELECT (SELECT x.meter FROM %1$s.settlement x WHERE x.meter > m.meter " \
	"ORDER BY x.meter LIMIT 1) FROM m WHERE m.meter IS NOT NULL) " \
	"SELECT s.meter, s.aggregate, (extract(epoch FROM s.unit) * 1000000)::bigint, s.period::text, s.timezone " \
	"FROM m CROSS JOIN LATERAL (SELECT * FROM %1$s.settlement l WHERE l.meter = m.meter " \
	"ORDER BY l.settlement DESC LIMIT 1) s"

/* Find the meters that there were. */
static void
find_dropped(Making *making)
{
	MeterSession session;
	uint64		i;

	meter_session_begin(&session, making->owner);
	meter_check_stream(making->page.stream);
	meter_execute(psprintf(LAST_SETTLEMENTS, quote_identifier(making->page.stream)),
				  SPI_OK_SELECT);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before;
		bool		isnull;

		if (find_meter(making, meter_result_text(i, 1)) != NULL)
			continue;
		before = MemoryContextSwitchTo(making->context);
		(void) add_dropped(making, meter_result_text(i, 1), meter_result_text(i, 2),
						   DatumGetInt64(meter_result(i, 3, &isnull)),
						   meter_result_text(i, 4), meter_result_text(i, 5));
		MemoryContextSwitchTo(before);
	}
	meter_session_end(&session);
}

/* Order meters by name. */
static int
meter_cmp(const ListCell *a, const ListCell *b)
{
	return strcmp(((Meter *) lfirst(a))->name, ((Meter *) lfirst(b))->name);
}

/* Tell whether anything of the period is not settled. */
static bool
may_be_open(const Making *making)
{
	ListCell   *cell;

	foreach(cell, making->meters)
	{
		const Meter *meter = lfirst(cell);

		if (!meter->dropped && meter->progress->has_watermark &&
			meter->progress->watermark < making->page.to)
			return true;
	}
	return false;
}

/* Find the meter of a row. */
static Meter *
meter_of(Making *making, Datum name)
{
	char	   *found = TextDatumGetCString(name);
	MemoryContext before;

	if (making->meter != NULL && strcmp(making->meter->name, found) == 0)
		return making->meter;
	making->meter = find_meter(making, found);
	/* what wrote this usage left nothing else */
	if (making->meter == NULL)
	{
		before = MemoryContextSwitchTo(making->context);
		making->meter = add_dropped(making, pstrdup(found), "sum", METER_SECOND,
									"1 hour", pstrdup("UTC"));
		MemoryContextSwitchTo(before);
	}
	return making->meter;
}

/* --- usage by dimensions and day ------------------------------------------ */

/* The columns of a row of usage. */
enum UsageColumn
{
	USAGE_METER,
	USAGE_DIMENSIONS,
	USAGE_PERIOD,
	USAGE_SETTLED,
	USAGE_OPEN
};

/* Prepare the days of a meter. */
static void
begin_days(const Making *making, Meter *meter)
{
	meter->first_day = meter_grid_day(meter->grid, making->page.from);
	meter->ndays = meter_grid_day(meter->grid, making->page.to - 1) -
		meter->first_day + 1;
	meter->days = palloc0(meter->ndays * sizeof(Sums));
}

/* Is a jsonb the same as another? */
static bool
jsonb_is(Jsonb *jsonb, Datum other)
{
	return DatumGetBool(DirectFunctionCall2(jsonb_eq, JsonbPGetDatum(jsonb), other));
}

/* Take a row of usage; they are in the order of meters and dimensions. */
static void
take_usage(void *arg, TupleTableSlot *slot)
{
	Making	   *making = arg;
	MemoryContext before = MemoryContextSwitchTo(making->row);
	Meter	   *meter = meter_of(making, slot->tts_values[USAGE_METER]);
	Datum		dimensions = slot->tts_values[USAGE_DIMENSIONS];
	int32		day;
	bool		same = meter->labels != NIL &&
	jsonb_is(llast(meter->labels), dimensions);

	MemoryContextSwitchTo(making->context);
	if (!is_used(&meter->sums))
		begin_days(making, meter);
	if (!same)
	{
		meter->labels = lappend(meter->labels, DatumGetJsonbPCopy(dimensions));
		meter->label_sums = lappend(meter->label_sums, palloc0(sizeof(Sums)));
	}
	day = meter_grid_day(meter->grid, DatumGetTimestampTz(slot->tts_values[USAGE_PERIOD])) -
		meter->first_day;
	if (day < 0 || day >= meter->ndays)
		elog(ERROR, "day %d of a period is outside of a report", day);
	add_to_sums(&meter->sums, slot, USAGE_SETTLED, USAGE_OPEN);
	add_to_sums(llast(meter->label_sums), slot, USAGE_SETTLED, USAGE_OPEN);
	add_to_sums(&meter->days[day], slot, USAGE_SETTLED, USAGE_OPEN);
	MemoryContextSwitchTo(before);
	MemoryContextReset(making->row);
}

/* Read usage by meter, dimensions and period. */
static void
read_usage(Making *making, const Datum *values)
{
	meter_scan(psprintf("SELECT meter, dimensions, period_start, sum(quantity) FILTER (WHERE settled), "
						"sum(quantity) FILTER (WHERE NOT settled) FROM ("
						"SELECT meter, dimensions, period_start, quantity, true AS settled FROM %s.account_usage WHERE " OF_TOTALS
						" UNION ALL SELECT meter, dimensions, period_start, quantity, false FROM open_usage) u "
						"GROUP BY meter, dimensions, period_start ORDER BY meter, dimensions::text COLLATE \"C\", period_start",
						quote_identifier(making->page.stream)),
			   NPARAMETERS, parameter_types, values, NULL, take_usage, making);
}

/* --- usage by resource ---------------------------------------------------- */

/* The columns of a row of a resource. */
enum ResourceColumn
{
	RESOURCE_METER,
	RESOURCE_NAME,
	RESOURCE_PERIOD,
	RESOURCE_SETTLED,
	RESOURCE_OPEN
};

/* Add a period with usage to a resource. */
static void
add_period(const Making *making, const Meter *meter, Resource *resource,
		   TimestampTz begin, bool open)
{
	TimestampTz end = meter_grid_period_end(meter->grid, begin);
	MeterReportSpan *last = resource->nspans == 0 ? NULL :
	&resource->spans[resource->nspans - 1];

	if (open && making->page.made_at > begin)
		end = Min(end, making->page.made_at);
	if (last != NULL && last->end == begin && last->open == open)
	{
		last->end = end;
		return;
	}
	if (resource->nspans == resource->room)
	{
		resource->room = Max(4, resource->room * 2);
		resource->spans = resource->spans == NULL ?
			palloc(resource->room * sizeof(MeterReportSpan)) :
			repalloc_huge(resource->spans, resource->room * sizeof(MeterReportSpan));
	}
	last = &resource->spans[resource->nspans++];
	last->begin = begin;
	last->end = end;
	last->open = open;
}

/* Is there usage in a column of a row? */
static bool
has_quantity(const Meter *meter, const TupleTableSlot *slot, int column)
{
	return !slot->tts_isnull[column] &&
		(METER_KEEPS_ZERO(meter->aggregate) ||
		 !meter_numeric_is_zero(DatumGetNumeric(slot->tts_values[column])));
}

/* Take a row of a resource; they are in order. */
static void
take_resource(void *arg, TupleTableSlot *slot)
{
	Making	   *making = arg;
	MemoryContext before = MemoryContextSwitchTo(making->row);
	Meter	   *meter = meter_of(making, slot->tts_values[RESOURCE_METER]);
	char	   *name = TextDatumGetCString(slot->tts_values[RESOURCE_NAME]);
	TimestampTz begin = DatumGetTimestampTz(slot->tts_values[RESOURCE_PERIOD]);
	Resource   *resource = meter->resources == NIL ? NULL : llast(meter->resources);

	MemoryContextSwitchTo(making->context);
	if (resource == NULL || strcmp(resource->name, name) != 0)
	{
		resource = palloc0(sizeof(Resource));
		resource->name = pstrdup(name);
		meter->resources = lappend(meter->resources, resource);
	}
	add_to_sums(&resource->sums, slot, RESOURCE_SETTLED, RESOURCE_OPEN);
	if (has_quantity(meter, slot, RESOURCE_SETTLED))
		add_period(making, meter, resource, begin, false);
	if (has_quantity(meter, slot, RESOURCE_OPEN))
		add_period(making, meter, resource, begin, true);
	MemoryContextSwitchTo(before);
	MemoryContextReset(making->row);
}

/* Read usage by meter, resource and period. */
static void
read_resources(Making *making, const Datum *values)
{
	meter_scan(psprintf("SELECT meter, resource, period_start, sum(quantity) FILTER (WHERE settled), "
						"sum(quantity) FILTER (WHERE NOT settled) FROM ("
						"SELECT meter, resource, period_start, quantity, true AS settled FROM %s.usage WHERE " OF_LEDGER
						" UNION ALL SELECT meter, resource, period_start, quantity, false FROM open_usage) u "
						"GROUP BY meter, resource, period_start ORDER BY meter, resource, period_start",
						quote_identifier(making->page.stream)),
			   NPARAMETERS, parameter_types, values, NULL, take_resource, making);
}

/* Order resources: those with the most usage first. */
static int
resource_cmp(const ListCell *a, const ListCell *b)
{
	const Resource *x = lfirst(a);
	const Resource *y = lfirst(b);
	int			order = DatumGetInt32(DirectFunctionCall2(numeric_cmp,
														  NumericGetDatum(y->both),
														  NumericGetDatum(x->both)));

	return order != 0 ? order : strcmp(x->name, y->name);
}

/* Show the resources of a meter on the page. */
static void
show_resources(Meter *meter, MeterReportMeter *page)
{
	Sums		more = {false, false, NULL, NULL};
	ListCell   *cell;

	foreach(cell, meter->resources)
	{
		Resource   *resource = lfirst(cell);
		bool		any = false;

		if (resource->sums.has_settled)
			add_quantity(&any, &resource->both, NumericGetDatum(resource->sums.settled));
		if (resource->sums.has_open)
			add_quantity(&any, &resource->both, NumericGetDatum(resource->sums.open));
	}
	list_sort(meter->resources, resource_cmp);
	page->resources = palloc(MOST_RESOURCES * sizeof(MeterReportResource));
	foreach(cell, meter->resources)
	{
		Resource   *resource = lfirst(cell);
		MeterReportResource *shown = &page->resources[page->nresources];

		if (page->nresources == MOST_RESOURCES)
		{
			page->more_resources++;
			add_sums(&more, &resource->sums);
			continue;
		}
		page->nresources++;
		shown->name = to_utf8(resource->name);
		shown->usage = usage_texts(&resource->sums);
		shown->spans = resource->spans;
		shown->nspans = resource->nspans;
	}
	page->more_usage = usage_texts(&more);
}

/* --- adjustments ---------------------------------------------------------- */

/* An adjustment, and a row of it that can be explained. */
typedef struct Explaining
{
	Making	   *making;
	MeterReportAdjustment *adjustment;
	Datum		transaction_id;
} Explaining;

/* Return a late row in words: of the result of explain(), as below. */
static char *
late_row_text(Making *making, uint64 row)
{
	StringInfoData text;
	bool		isnull;
	TimestampTz at = DatumGetTimestampTz(meter_result(row, 2, &isnull));
	char	   *action = meter_result_text(row, 3);
	char	   *source = meter_result_text(row, 4);
	char	   *id = meter_result_text(row, 5);
	char	   *value = meter_result_text(row, 6);

	initStringInfo(&text);
	appendStringInfo(&text, "%s", meter_result_text(row, 1));
	if (action != NULL)
		appendStringInfo(&text, " \"%s\"", action);
	if (value != NULL)
		appendStringInfo(&text, " of %s", value);
	appendStringInfo(&text, " at %s", tell(making, at));
	if (source != NULL)
		appendStringInfo(&text, " from %s", source);
	if (id != NULL)
		appendStringInfo(&text, ", id %s", id);
	return text.data;
}

/* Find the reasons of an adjustment, as meter_try() calls it. */
static void
explain(void *arg)
{
	Explaining *explaining = arg;
	Making	   *making = explaining->making;
	MeterReportAdjustment *adjustment = explaining->adjustment;
	Oid			types[] = {TEXTOID, UUIDOID};
	Datum		values[] = {CStringGetTextDatum(making->page.stream), explaining->transaction_id};
	MemoryContext before;
	uint64		i;

	meter_execute_params("SELECT part, \"time\", action, source, id, value FROM meter.explain($1, $2) "
						 "WHERE part IN ('late event', 'late measure') ORDER BY arrival",
						 SPI_OK_SELECT, lengthof(types), types, values, NULL);
	before = MemoryContextSwitchTo(making->context);
	for (i = 0; i < Min(SPI_processed, MOST_REASONS); i++)
		adjustment->reasons[adjustment->nreasons++] = to_utf8(late_row_text(making, i));
	adjustment->more_reasons = (int) Min(SPI_processed - i, PG_INT32_MAX);
	if (SPI_processed == 0)
		adjustment->reasons[adjustment->nreasons++] =
			"computed anew, not because of rows that its settlement read: after a release, meter.resettle() or a repair";
	MemoryContextSwitchTo(before);
	SPI_freetuptable(SPI_tuptable);
}

/* Can a report do without what raised this error? */
static bool
can_do_without(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT ||
		category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		category == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

/*
 * Add a reason to an adjustment: as a function that may fail finds it, or why it
 * does not.
 */
static void
add_reasons(Explaining *explaining)
{
	MeterReportAdjustment *adjustment = explaining->adjustment;
	ErrorData  *error;

	adjustment->reasons = palloc(MOST_REASONS * sizeof(char *));
	error = meter_try(explain, explaining);
	if (error == NULL)
		return;
	if (!can_do_without(error))
		ReThrowError(error);
	adjustment->nreasons = adjustment->more_reasons = 0;
	adjustment->reasons[adjustment->nreasons++] =
		to_utf8(psprintf("not explained: %s", error->message));
}

/* Read the adjustments: what each settlement changed of a resource. */
static void
read_adjustments(Making *making, Datum *values)
{
	MeterReport *page = &making->page;
	Explaining *list = NULL;
	MemoryContext before;
	bool		isnull;
	uint64		count;
	uint64		i;

	meter_execute_params(psprintf("SELECT recorded_at, meter, resource, dimensions, min(period_start), max(period_start), "
								  "count(DISTINCT period_start)::int, sum(quantity), (array_agg(transaction_id ORDER BY transaction_id DESC))[1], "
								  "count(*) OVER () FROM %s.usage WHERE revision > 0 AND " OF_LEDGER
								  " GROUP BY recorded_at, settlement, meter, resource, dimensions "
								  "ORDER BY recorded_at DESC, meter, resource, dimensions::text COLLATE \"C\" LIMIT %d",
								  quote_identifier(page->stream), MOST_ADJUSTMENTS),
						 SPI_OK_SELECT, NPARAMETERS, (Oid *) parameter_types, values, NULL);
	count = SPI_processed;
	if (count == 0)
		return;
	page->more_adjustments = (int) Min(DatumGetInt64(meter_result(0, 10, &isnull)) - (int64) count,
									   PG_INT32_MAX);
	before = MemoryContextSwitchTo(making->context);
	page->adjustments = palloc0(count * sizeof(MeterReportAdjustment));
	page->nadjustments = (int) count;
	list = palloc0(count * sizeof(Explaining));
	for (i = 0; i < count; i++)
	{
		MeterReportAdjustment *adjustment = &page->adjustments[i];
		Numeric		change = DatumGetNumeric(meter_result(i, 8, &isnull));

		adjustment->recorded_at = DatumGetTimestampTz(meter_result(i, 1, &isnull));
		adjustment->meter = to_utf8(meter_result_text(i, 2));
		adjustment->resource = to_utf8(meter_result_text(i, 3));
		adjustment->label = read_label(meter_result(i, 4, &isnull));
		adjustment->first = DatumGetTimestampTz(meter_result(i, 5, &isnull));
		adjustment->last = DatumGetTimestampTz(meter_result(i, 6, &isnull));
		adjustment->periods = DatumGetInt32(meter_result(i, 7, &isnull));
		adjustment->change = psprintf("%s%s", meter_numeric_is_positive(change) ? "+" : "",
									  quantity_text(true, change));
		list[i].making = making;
		list[i].adjustment = adjustment;
		list[i].transaction_id = UUIDPGetDatum(memcpy(palloc(UUID_LEN),
													  DatumGetUUIDP(meter_result(i, 9, &isnull)),
													  UUID_LEN));
	}
	for (i = 0; i < count; i++)
		add_reasons(&list[i]);
	MemoryContextSwitchTo(before);
}

/* --- what the caller may not see ------------------------------------------ */

/* A part of a report, and the parameters of its queries. */
typedef struct Part
{
	Making	   *making;
	Datum	   *values;
	MeterRows	open;			/* usage that is not settled yet */
} Part;

/* Take a row of what is not settled yet. */
static void
take_open(void *arg, TupleTableSlot *slot)
{
	meter_add_row(arg, slot->tts_values, slot->tts_isnull);
}

/* Read what is not settled yet, as meter_try() calls it. */
static void
read_open(void *arg)
{
	Part	   *part = arg;

	meter_scan("SELECT l.meter, l.resource, l.dimensions, l.period_start, l.quantity FROM meter.live_usage($6, $1) l "
			   "WHERE NOT l.settled AND l.period_start >= $2 AND l.period_start < $3",
			   NPARAMETERS, parameter_types, part->values, NULL, take_open,
			   &part->open);
}

/* Read the rows of the ledger, as meter_try() calls it. */
static void
read_rows(void *arg)
{
	Part	   *part = arg;

	read_resources(part->making, part->values);
	read_adjustments(part->making, part->values);
}

/* Read a part; returns why not, if the caller may not, or NULL. */
static const char *
try_to_read(void (*read) (void *arg), Part *part)
{
	MemoryContext before = MemoryContextSwitchTo(part->making->context);
	ErrorData  *error = meter_try(read, part);

	MemoryContextSwitchTo(before);
	if (error == NULL)
		return NULL;
	if (error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE)
		ReThrowError(error);
	return to_utf8(error->message);
}

/* --- the report ----------------------------------------------------------- */

/* Show the days of a meter on the page. */
static void
show_days(const Meter *meter, MeterReportMeter *page)
{
	int32		i;

	page->first_day = meter->first_day;
	page->last_day = meter->first_day + meter->ndays - 1;
	page->days = palloc(meter->ndays * sizeof(MeterReportDay));
	for (i = 0; i < meter->ndays; i++)
	{
		if (!is_used(&meter->days[i]))
			continue;
		page->days[page->ndays].day = meter->first_day + i;
		page->days[page->ndays++].usage = usage_texts(&meter->days[i]);
	}
}

/* Show a meter on the page. */
static void
show_meter(Meter *meter, MeterReportMeter *page)
{
	int			i;

	page->name = to_utf8(meter->name);
	page->measures = measures_text(meter);
	page->timezone = to_utf8(meter->timezone);
	page->dropped = meter->dropped;
	page->has_watermark = !meter->dropped && meter->progress->has_watermark;
	page->watermark = page->has_watermark ? meter->progress->watermark : 0;
	page->usage = usage_texts(&meter->sums);
	page->nsums = list_length(meter->labels);
	page->sums = palloc(page->nsums * sizeof(MeterReportSum));
	for (i = 0; i < page->nsums; i++)
	{
		page->sums[i].label = read_label(JsonbPGetDatum((Jsonb *) list_nth(meter->labels, i)));
		page->sums[i].usage = usage_texts(list_nth(meter->label_sums, i));
	}
	show_days(meter, page);
}

/* Choose the time zone of the page: that of all meters, or else UTC. */
static void
choose_zone(Making *making)
{
	const char *name = NULL;
	ListCell   *cell;

	foreach(cell, making->meters)
	{
		const Meter *meter = lfirst(cell);

		if (!is_used(&meter->sums))
			continue;
		if (name != NULL && strcmp(name, meter->timezone) != 0)
			name = "UTC";
		else if (name == NULL)
			name = meter->timezone;
	}
	making->page.timezone = name == NULL ? "UTC" : name;
	making->zone = pg_tzset(making->page.timezone);
}

/* Begin to read as the caller, or as the owner, if the caller may do all that. */
static void
begin_to_read(const Making *making, MeterSession *session)
{
	if (has_privs_of_role(GetUserId(), making->owner))
		meter_session_begin(session, making->owner);
	else
	{
		meter_session_begin(session, InvalidOid);
		meter_session_policies();
	}
}

/* Find what the page shows, as meter_with_one_snapshot() calls it. */
static void
collect(void *arg)
{
	Part	   *part = arg;
	Making	   *making = part->making;
	MeterReport *page = &making->page;
	static const char *const names[] = {"meter", "resource", "dimensions", "period_start", "quantity"};
	static const Oid types[] = {TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, NUMERICOID};
	MeterSession session;
	ListCell   *cell;

	find_meters(making);
	find_dropped(making);
	list_sort(making->meters, meter_cmp);

	begin_to_read(making, &session);
	/* a store that a subtransaction begins would end with it */
	meter_begin_rows(&part->open, "open_usage", lengthof(types), names, types);
	if (may_be_open(making))
		page->without_open = try_to_read(read_open, part);
	meter_register_rows(&part->open);
	read_usage(making, part->values);
	choose_zone(making);
	page->without_rows = try_to_read(read_rows, part);
	meter_forget_rows(&part->open);
	meter_session_end(&session);

	MemoryContextSwitchTo(making->context);
	list_sort(making->meters, meter_cmp);
	page->meters = palloc0(Max(1, list_length(making->meters)) * sizeof(MeterReportMeter));
	foreach(cell, making->meters)
	{
		Meter	   *meter = lfirst(cell);

		if (!is_used(&meter->sums))
			continue;
		show_meter(meter, &page->meters[page->nmeters]);
		show_resources(meter, &page->meters[page->nmeters++]);
	}
	page->timezone = to_utf8(unconstify(char *, page->timezone));
}

/* Check the period that is asked for. */
static void
check_during(const MeterWindow *during)
{
	if (during->from >= during->to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"during\" must not be empty")));
	if (during->from <= METER_BEGIN || during->to >= METER_END)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"during\" must have both ends"),
				 errhint("Say from when to when, as in '[2024-03-01, 2024-04-01)'.")));
	if (during->to - during->from > LONGEST_DAYS * METER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"during\" is longer than %d days", LONGEST_DAYS),
				 errhint("Make a report of each year.")));
}

/* Check that the caller may read the totals of a stream. */
static void
check_may_read(const char *stream)
{
	Oid			schema = get_namespace_oid(stream, true);
	Oid			totals = OidIsValid(schema) ?
	get_relname_relid("account_usage", schema) : InvalidOid;

	if (OidIsValid(totals) &&
		pg_class_aclcheck(totals, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table account_usage of stream \"%s\"", stream),
				 meter_access_hint(stream, METER_ACCESS_ANALYST)));
}

/* Set the parameters of the queries. */
static void
set_parameters(Datum *values, const MeterWindow *during, const char *stream,
			   Datum account)
{
	pg_uuid_t  *least = palloc(sizeof(pg_uuid_t));
	pg_uuid_t  *limit = palloc(sizeof(pg_uuid_t));
	const TimestampTz year_1970 = (TimestampTz) (UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * METER_DAY;

	/* IDs are as exact as a second; those of before 1970 begin alike */
	meter_least_id(during->from, least);
	meter_least_id(Max(during->to, year_1970) + METER_SECOND, limit);
	values[ACCOUNT] = account;
	values[FROM] = TimestampTzGetDatum(during->from);
	values[TO] = TimestampTzGetDatum(during->to);
	values[LEAST_ID] = UUIDPGetDatum(least);
	values[ID_LIMIT] = UUIDPGetDatum(limit);
	values[STREAM] = CStringGetTextDatum(stream);
}

PG_FUNCTION_INFO_V1(meter_report_html);

/* report_html(stream, account, during) */
Datum
meter_report_html(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *account = meter_text_arg(fcinfo, 1, "account");
	Making		making = {0};
	Datum		values[NPARAMETERS];
	Part		part = {.making = &making,.values = values};
	MeterWindow during;
	MeterHtml	html;
	bool		exists;
	bool		active;

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", "during")));
	during = meter_window_from_range(PG_GETARG_DATUM(2));
	check_during(&during);
	meter_look_up_stream(stream, &exists, &active);
	if (!exists)
		meter_no_stream(stream);
	check_may_read(stream);

	making.context = CurrentMemoryContext;
	making.row = AllocSetContextCreate(CurrentMemoryContext, "row of a report", ALLOCSET_SMALL_SIZES);
	making.owner = meter_stream_owner(stream);
	making.page.stream = stream;
	making.page.account = account;
	making.page.from = during.from;
	making.page.to = during.to;
	making.page.made_at = meter_now();
	making.page.tell = tell;
	making.page.arg = &making;
	set_parameters(values, &during, stream, PG_GETARG_DATUM(1));
	meter_with_one_snapshot(collect, &part);

	making.page.stream = to_utf8(stream);
	making.page.account = to_utf8(account);
	meter_html_begin(&html);
	meter_report_page(&html, &making.page);
	if (html.full)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the report of account \"%s\" would be larger than %d MB",
						account, (int) (METER_HTML_LIMIT / 1000000)),
				 errhint("Make reports of shorter periods.")));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(html.data, (int) html.length));
}
