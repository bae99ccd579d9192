/*
 * live.c
 *	  Live usage: what is not settled yet, computed from the carried states and
 *	  the rows since, as a step would.  Nothing is written: on a standby, too.
 *
 * An event names its resource, not its account.  So the live usage of accounts
 * is that of few resources: those that are, or once were, theirs, those that a
 * row since gives them, and those of which an observation since may say that
 * their past was otherwise.  Of these alone the states are read, and the rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/calendar.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "commands/settled.h"
#include "core/core.h"
#include "core/event_set.h"
#include "engine/asking.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/places.h"
#include "engine/resources.h"
#include "engine/states.h"
#include "engine/usage_kind.h"
#include "engine/views.h"
#include "pg/arguments.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/spi.h"
#include "types/transaction_id.h"

/* What is asked for, and where it is returned. */
typedef struct Live
{
	FunctionCallInfo fcinfo;
	const char *stream;
	List	   *meters;			/* of MeterAskedMeter: `to` is up to when
								 * there is live usage; DT_NOBEGIN: there is
								 * none */
	Datum		accounts;		/* text[], or 0: any */
	MeterAttr  *account_list;	/* the same */
	int			naccounts;
	Datum		resource;		/* text, or 0: all */
	bool		restricted;		/* the caller may see these accounts only */
	bool		settled;		/* what is settled is asked for, too */
	Datum		settled_meters; /* that it can be of, text[]; 0: not known */

	/* where few resources are asked for */
	MeterResources *few;		/* NULL: all */
	Datum		names;			/* of these, text[] */
	MeterPlaces places[METER_NLOGS];
} Live;

/* Find up to when a meter has live usage.  Returns false if it has none. */
static bool
find_end(const MeterDefinition *definition, const MeterProgress *progress,
		 TimestampTz *end)
{
	TimestampTz clock;

	if (!progress->has_watermark)
		return false;
	*end = Min(meter_now(), definition->until);
	if (definition->clock == METER_CLOCK_EVENT)
	{
		if (!progress->has_event_clock)
			return false;
		*end = Min(*end, progress->event_clock);
	}
	else if (definition->clock == METER_CLOCK_SOURCE)
	{
		if (!meter_source_clock(definition->stream, true, &clock))
			return false;
		*end = Min(*end, clock);
	}
	return progress->watermark < *end;
}

/* Tell whether an account is one of those that are asked for. */
static bool
is_asked_for(const Live *live, MeterAttr account)
{
	int			i;

	for (i = 0; i < live->naccounts; i++)
	{
		if (meter_attr_equal(account, live->account_list[i]))
			return true;
	}
	return live->accounts == 0;
}

/* Ask for accounts, a text[]. */
static void
ask_for(Live *live, Datum accounts)
{
	Datum	   *elements;
	bool	   *nulls;
	int			i;

	live->accounts = accounts;
	deconstruct_array(DatumGetArrayTypeP(accounts), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &live->naccounts);
	live->account_list = palloc(Max(live->naccounts, 1) * sizeof(MeterAttr));
	for (i = 0; i < live->naccounts; i++)
		live->account_list[i] = meter_attr_from_text(elements[i]);
}

/* Return a usage row, if it is asked for. */
static void
return_row(MeterFold *fold, const MeterUsageRow *row)
{
	const Live *live = fold->emit_arg;
	ReturnSetInfo *info = (ReturnSetInfo *) live->fcinfo->resultinfo;
	Datum		values[7];
	bool		nulls[7] = {false, false, false, false, false, false, false};

	if (!is_asked_for(live, row->account))
		return;
	values[0] = CStringGetTextDatum(fold->definition->name);
	values[1] = meter_text_from_attr(row->account);
	values[2] = meter_text_from_attr(fold->resource);
	values[3] = row->dimensions;
	values[4] = TimestampTzGetDatum(row->period_start);
	values[5] = NumericGetDatum(row->quantity);
	values[6] = BoolGetDatum(false);
	tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
}

/* --- few resources -------------------------------------------------------- */

/* Append the condition that a row e of a log names an account that is asked for. */
static void
append_names(StringInfo sql, const Live *live)
{
	appendStringInfo(sql, "(e.account = ANY (%s)%s",
					 meter_text_array_literal(live->accounts),
					 is_asked_for(live, meter_attr("", 0)) ?
					 " OR e.account IS NULL)" : ")");
}

/*
 * Return the condition that the usage of the accounts can be about the resource
 * of a row e of the event log from an instant on.
 */
static char *
names_resource(const Live *live, TimestampTz from)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "(e.\"time\" >= %s AND (",
					 meter_timestamp_literal(from));
	append_names(&sql, live);
	appendStringInfoString(&sql, " OR (" METER_IS_PRESENCE("e") " AND e.attributes ? 'since'))");
	if (live->resource != 0)
		appendStringInfo(&sql, " AND e.resource = %s",
						 quote_literal_cstr(TextDatumGetCString(live->resource)));
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/*
 * Find the resources that usage of the accounts can be about, also of meters
 * that have other accounts' usage of them, but for those that only an event
 * tells.  `from` is the least watermark.  Of a resource nobody learns by its
 * failure who may not see its usage.
 */
static MeterResources *
find_resources(const Live *live, const List *meters, TimestampTz from)
{
	StringInfoData sql;
	ListCell   *cell;

	initStringInfo(&sql);
	if (live->resource != 0 && !live->restricted)
	{
		MeterResources *one = meter_resources_begin();

		(void) meter_resources_add(one, meter_attr_from_text(live->resource));
		return one;
	}
	appendStringInfo(&sql, "SELECT resource FROM (SELECT e.resource FROM %s.measure e WHERE e.end_time >= %s AND ",
					 quote_identifier(live->stream),
					 meter_timestamp_literal(from));
	append_names(&sql, live);
	foreach(cell, meters)
		appendStringInfo(&sql, " UNION %s",
						 meter_account_resources(live->stream,
												 ((MeterAskedMeter *) lfirst(cell))->definition->name,
												 live->accounts));
	appendStringInfo(&sql, ") r%s ORDER BY 1", live->resource == 0 ? "" :
					 psprintf(" WHERE resource = %s COLLATE \"C\"",
							  quote_literal_cstr(TextDatumGetCString(live->resource))));
	return meter_resources_from_query(sql.data);
}

/* Find the newest events of the few resources, and others that meet a condition. */
static void
find_events(Live *live, const MeterDefinition *definition, TimestampTz from,
			const char *others)
{
	live->names = meter_resources_names(live->few);
	meter_find_places_from(&live->places[METER_LOG_EVENT], definition,
						   METER_LOG_EVENT, live->names, live->few->count,
						   meter_later_by(from, -definition->deduplication_window),
						   others);
}

/*
 * Add the resources that only events tell, as names_resource() says.  Those
 * events are among the newest that were kept, or in sealed segments.  Returns
 * false if there are none.
 */
static bool
add_resources(Live *live, const MeterDefinition *definition, const char *names)
{
	const MeterPlaces *places = &live->places[METER_LOG_EVENT];
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[] = {live->names};
	StringInfoData sql;
	uint64		i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT DISTINCT e.resource FROM (SELECT e.resource FROM %s e WHERE %s",
					 meter_newest_rows(places, definition, METER_LOG_EVENT), names);
	if (places->sealed > 0)
		appendStringInfo(&sql, " UNION ALL SELECT e.resource FROM %s.event e WHERE e.arrival < " INT64_FORMAT " AND %s",
						 quote_identifier(live->stream), places->sealed, names);
	appendStringInfoString(&sql, ") e WHERE e.resource <> ALL ($1 COLLATE \"C\")");
	meter_execute_params(sql.data, SPI_OK_SELECT, lengthof(types), types, values,
						 NULL);
	for (i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		name = meter_result(i, 1, &isnull);

		CHECK_FOR_INTERRUPTS();
		(void) meter_resources_add(live->few, meter_attr_from_text(name));
	}
	return SPI_processed > 0;
}

/*
 * Find the few resources that are asked for, and their newest rows.  The newest
 * events are scanned once, unless they tell of more resources.
 */
static void
find_few(Live *live, const List *meters)
{
	const MeterAskedMeter *first = linitial(meters);
	bool		named = live->resource == 0 || live->restricted;
	TimestampTz from = DT_NOEND;
	ListCell   *cell;

	foreach(cell, meters)
		from = Min(from, ((MeterAskedMeter *) lfirst(cell))->progress->watermark);
	live->few = find_resources(live, meters, from);
	find_events(live, first->definition, from,
				named ? names_resource(live, from) : NULL);
	if (named &&
		add_resources(live, first->definition, names_resource(live, from)))
	{
		meter_forget_places(&live->places[METER_LOG_EVENT]);
		find_events(live, first->definition, from, NULL);
	}
	meter_find_places_from(&live->places[METER_LOG_MEASURE], first->definition,
						   METER_LOG_MEASURE, live->names, live->few->count,
						   DT_NOBEGIN, NULL);
}

/* Order resources as they are walked. */
static int
walk_cmp(const void *a, const void *b)
{
	const MeterResource *x = a;
	const MeterResource *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return meter_attr_cmp(x->name, y->name);
}

/* Have a pass from the states on be about the few resources alone. */
static void
narrow(MeterFold *fold, Live *live)
{
	MeterResources *only = live->few;
	int64		i;

	for (i = 0; i < only->count; i++)
	{
		MeterResource *resource = &only->list[i];

		resource->hash = meter_hash_resource(fold->spec->stream,
											 fold->spec->meter, resource->name);
		resource->from = resource->begin = fold->from;
		resource->to = fold->to;
	}
	qsort(only->list, only->count, sizeof(MeterResource), walk_cmp);
	fold->only = only;
	fold->scope.stored = false;
	fold->scope.resources = meter_resources_names(only);
	fold->scope.begins = meter_resources_begins(only);
	fold->scope.least_begin = fold->from;
	fold->scope.places = live->places[METER_LOG_EVENT];
	fold->measure_places = live->places[METER_LOG_MEASURE];
}

/* --- the open part -------------------------------------------------------- */

/*
 * Begin a pass over live usage, from the states, or of resources of which these
 * do not tell enough.
 */
static MeterFold *
begin_pass(Live *live, const MeterAskedMeter *meter, MeterResources *behind)
{
	const MeterDefinition *definition = meter->definition;
	const MeterProgress *progress = meter->progress;
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);

	fold->from = progress->watermark;
	fold->to = meter->to;
	fold->scope.to = meter->to;
	fold->scope.settled_to = DT_NOEND;
	fold->scope.late_from = meter_late_from(definition, progress);
	fold->emit = return_row;
	fold->emit_arg = live;
	fold->anonymous = live->restricted;
	if (behind != NULL)
	{
		fold->asked = behind;
		fold->scope.resources = meter_resources_names(behind);
		meter_fold_find_places(fold);
		return fold;
	}
	fold->carried = true;
	fold->scope.from = progress->watermark;
	fold->scope.stored = true;
	fold->states = meter_states_begin(definition, "_resource_state", false);
	fold->behind = meter_resources_begin();
	if (live->few != NULL)
		narrow(fold, live);
	return fold;
}

/* Return the usage of a meter that is not settled. */
static void
return_open(Live *live, const MeterAskedMeter *meter)
{
	MeterFold  *fold = begin_pass(live, meter, NULL);
	MeterResources *behind = fold->behind;

	meter_fold_run(fold);
	(void) meter_states_end(fold->states);
	meter_fold_end(fold);
	if (behind->count == 0)
		return;
	fold = begin_pass(live, meter, behind);
	meter_fold_run(fold);
	meter_fold_end(fold);
}

/* Find the meters of the stream, and up to when they have usage that is not settled. */
static void
find_meters(Live *live)
{
	ListCell   *cell;

	live->meters = meter_asked_about(live->stream);
	foreach(cell, live->meters)
	{
		MeterAskedMeter *meter = lfirst(cell);
		const MeterDefinition *definition = meter->definition;

		/* one zone that is gone must not hide the other meters */
		if (!meter_calendar_has_rules(definition->calendar))
			ereport(WARNING,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("current usage of meter \"%s\" of stream \"%s\" is left out: time zone \"%s\" not recognized",
							definition->name, definition->stream,
							definition->timezone)));
		else if (find_end(definition, meter->progress, &meter->to))
			continue;
		meter->to = DT_NOBEGIN;
	}
}

/* Return the meters that have usage which is not settled. */
static List *
with_open_usage(List *meters)
{
	List	   *found = NIL;
	ListCell   *cell;

	foreach(cell, meters)
	{
		if (!TIMESTAMP_IS_NOBEGIN(((MeterAskedMeter *) lfirst(cell))->to))
			found = lappend(found, lfirst(cell));
	}
	return found;
}

/* Return what is asked for, of the stream or of a shard. */
static void
return_usage(Live *live)
{
	List	   *meters = with_open_usage(live->meters);
	MeterSession session;
	ListCell   *cell;
	MeterLog	log;

	meter_session_begin(&session, meter_stream_owner(live->stream));
	meter_check_stream(live->stream);
	meter_session_bulk();
	if (meters != NIL && (live->accounts != 0 || live->resource != 0))
		find_few(live, meters);
	foreach(cell, meters)
		return_open(live, lfirst(cell));
	for (log = METER_LOG_EVENT; log <= METER_LOG_MEASURE; log++)
		meter_forget_places(&live->places[log]);
	if (live->settled)
		meter_return_settled(live->fcinfo, live->stream, live->accounts,
							 live->resource, live->settled_meters);
	meter_session_end(&session);
}

/* Return what is asked for, as meter_with_one_snapshot() calls it. */
static void
return_all(void *arg)
{
	find_meters(arg);
	return_usage(arg);
}

/* --- on a cluster --------------------------------------------------------- */

/* What the question says. */
enum
{
	SAID_ACCOUNTS,				/* text[] as a text, or NULL */
	SAID_RESOURCE,				/* or NULL */
	SAID_SETTLED,				/* the meters that the ledger can have, so;
								 * NULL: what is settled is not asked for */
	NSAID
};

/*
 * Return what the shards have of what is asked for, or the one that has the
 * resource, and what the coordinator has itself: totals of accounts.  Returns false
 * if one has come further.
 */
static bool
ask_shards(void *arg)
{
	Live	   *live = arg;
	bool		of_totals = live->accounts != 0 && live->resource == 0;
	const char *said[NSAID] = {meter_said_text(live->accounts, TEXTARRAYOID), NULL, NULL};
	MeterQuestion question = {
		.stream = live->stream,
		.function = "live_usage_of_shard",
		.resource = live->resource,
		.said = said,
		.nsaid = NSAID
	};
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;

	find_meters(live);
	question.meters = live->meters;
	if (live->resource != 0)
		said[SAID_RESOURCE] = TextDatumGetCString(live->resource);
	meter_session_begin(&session, meter_stream_owner(live->stream));
	if (live->settled && of_totals)
		meter_return_settled(live->fcinfo, live->stream, live->accounts, 0, 0);
	else if (live->settled)
		said[SAID_SETTLED] = MemoryContextStrdup(context, meter_said_text(meter_settled_meters(live->stream), TEXTARRAYOID));
	meter_session_end(&session);
	return meter_ask_shards(&question, meter_return_answer, live->fcinfo);
}

/* Return what a shard has of what is asked for. */
static void
answer(MeterShardQuestion *question)
{
	Live		live = {0};
	Datum		accounts = meter_said_value(question->said[SAID_ACCOUNTS], TEXTARRAYOID);

	live.fcinfo = question->fcinfo;
	live.stream = question->stream;
	live.meters = question->meters;
	if (accounts != 0)
		ask_for(&live, accounts);
	if (question->said[SAID_RESOURCE] != NULL)
		live.resource = CStringGetTextDatum(question->said[SAID_RESOURCE]);
	live.settled = question->said[SAID_SETTLED] != NULL;
	live.settled_meters = meter_said_value(question->said[SAID_SETTLED], TEXTARRAYOID);
	return_usage(&live);
}

PG_FUNCTION_INFO_V1(meter_live_usage_of_shard);

/* live_usage_of_shard(stream, key, tables, meters, numbers, seen, said) */
Datum
meter_live_usage_of_shard(PG_FUNCTION_ARGS)
{
	return meter_answer(fcinfo, NSAID, answer);
}

/* --- the functions -------------------------------------------------------- */

/*
 * Ask for no more than the accounts that the caller may see, a text[], in a
 * stream that isolates tenants.
 */
static void
restrict_to(Live *live, Datum own)
{
	Live		allowed = {0};
	const char *role = GetUserNameFromId(GetUserId(), false);

	ask_for(&allowed, own);
	if (allowed.naccounts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("no account of stream \"%s\" is mapped to role \"%s\"",
						live->stream, role),
				 errhint("meter.map_account() maps one, and meter.grant_access(%s, %s, 'analyst') shows all. The owner of the stream, role \"%s\", may call them.",
						 quote_literal_cstr(live->stream), quote_literal_cstr(role),
						 GetUserNameFromId(meter_stream_owner(live->stream), true))));
	if (live->naccounts == 1 && !is_asked_for(&allowed, live->account_list[0]))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("account \"%s\" of stream \"%s\" is not mapped to role \"%s\"",
						TextDatumGetCString(meter_text_from_attr(live->account_list[0])),
						live->stream, role),
				 errhint("meter.map_account() maps it. The owner of the stream, role \"%s\", may call that.",
						 GetUserNameFromId(meter_stream_owner(live->stream), true))));
	if (live->naccounts == 0)
		ask_for(live, own);
	live->restricted = true;
}

/* Return what a call asks for. */
static void
return_live(FunctionCallInfo fcinfo, Live *live, Datum key)
{
	Datum		own;

	live->fcinfo = fcinfo;
	live->stream = meter_text_arg(fcinfo, 0, "stream");
	own = meter_check_may_read(live->stream, "current_usage", key);
	if (own != (Datum) 0)
		restrict_to(live, own);
	meter_return_begin(fcinfo);
	if (meter_stream_shards(live->stream) > 0)
		meter_ask(live->stream, fcinfo, ask_shards, live);
	else
		/* what the query sees, not what is there at this moment */
		meter_with_one_snapshot(return_all, live);
}

PG_FUNCTION_INFO_V1(meter_live_usage);

/* live_usage(stream, account, resource) */
Datum
meter_live_usage(PG_FUNCTION_ARGS)
{
	Live		live = {0};

	live.settled = true;
	if (!PG_ARGISNULL(1))
	{
		Datum		account = PG_GETARG_DATUM(1);

		ask_for(&live, PointerGetDatum(construct_array(&account, 1, TEXTOID,
													   -1, false, TYPALIGN_INT)));
	}
	live.resource = PG_ARGISNULL(2) ? (Datum) 0 :
		PointerGetDatum(PG_GETARG_TEXT_PP(2));
	return_live(fcinfo, &live, (Datum) 0);
	return (Datum) 0;
}

/* Return what a view asks for, whose key an argument has. */
static Datum
usage_of_view(FunctionCallInfo fcinfo, bool settled)
{
	Live		live = {0};

	live.settled = settled;
	return_live(fcinfo, &live, PG_ARGISNULL(1) ? (Datum) 0 :
				PG_GETARG_DATUM(1));
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meter_open_usage);

/* open_usage(stream, key) */
Datum
meter_open_usage(PG_FUNCTION_ARGS)
{
	return usage_of_view(fcinfo, false);
}

PG_FUNCTION_INFO_V1(meter_current_usage);

/* current_usage(stream, key) */
Datum
meter_current_usage(PG_FUNCTION_ARGS)
{
	return usage_of_view(fcinfo, true);
}
