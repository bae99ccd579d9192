/*
 * anomalies.c
 *	  meter.anomalies(): what was odd.  The view anomaly of a stream is this
 *	  without arguments.
 *
 * Only the classes, meters and resources that are asked for are computed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "commands/asked.h"
#include "commands/odd_rows.h"
#include "commands/odd_runs.h"
#include "core/core.h"
#include "engine/asking.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/usage_kind.h"
#include "engine/views.h"
#include "pg/arguments.h"
#include "pg/attr.h"
#include "pg/quantity.h"
#include "pg/spi.h"

/* A class, and how it is found: in a stream, or for each meter. */
typedef struct AnomalyClass
{
	const char *name;
	void		(*of_stream) (MeterAsked *asked);
	void		(*of_meter) (MeterAsked *asked, const MeterDefinition *definition,
							 const MeterProgress *progress);
} AnomalyClass;

/* Resources that are set aside. */
static void
quarantined(MeterAsked *asked)
{
	meter_return_anomalies(asked, "quarantined",
						   psprintf("SELECT e.meter, e.resource, e.since, NULL::bigint, "
									"format('set aside, and not settled since then: %%s (SQLSTATE %%s); "
									"meter.release_resource(%%L, %%L, %%L) computes it anew', "
									"e.message, e.sqlstate, %s, e.meter, e.resource) "
									"FROM %s.quarantine e WHERE true%s ORDER BY e.since, e.meter, e.resource",
									quote_literal_cstr(asked->stream), asked->schema,
									meter_asked_resource(asked)));
}

/* Rows that are held, stops first. */
static void
too_late(MeterAsked *asked)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
		meter_return_placed_anomalies(asked, "too late",
									  psprintf("SELECT h.meter, e.resource, h.\"time\", h.arrival, "
											   "format('%%s, held since %%s: meter.release(%%L, %%L, ARRAY[%%s]) lets it count', "
											   "%s, h.held_at, %s, h.meter, h.arrival), "
											   "CASE h.reason WHEN 'stop, too late' THEN %d ELSE %d END::bigint "
											   "FROM %s.held h JOIN %s.%s e ON e.arrival = h.arrival WHERE h.log = '%s' AND h.discarded_at IS NULL%s "
											   "AND NOT EXISTS (SELECT FROM (%s) v WHERE v.meter = h.meter AND %s) "
											   "ORDER BY h.reason <> 'stop, too late', h.arrival",
											   log == METER_LOG_EVENT ? "e.action" : "'measure'",
											   quote_literal_cstr(asked->stream), 2 * log, 2 * log + 1,
											   asked->schema,
											   asked->schema, meter_log_names[log],
											   meter_log_names[log], meter_asked_resource(asked),
											   psprintf("SELECT v.meter, v.resource, v.source, v.id, array_agg(v.\"time\" ORDER BY v.\"time\") AS times "
														"FROM %s._voided v GROUP BY 1, 2, 3, 4",
														asked->schema),
		/* a row was held by its time as the meter places it */
											   log == METER_LOG_MEASURE ?
											   meter_takes_back_at("e", "h.\"time\"", asked->window) :
											   meter_takes_back(METER_BY_TIME, "e", asked->window)));
}

/* Rows that are more than five minutes ahead. */
static void
in_the_future(MeterAsked *asked)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log < METER_NLOGS && asked->meter == NULL; log++)
	{
		const char *time = meter_row_time(meter_asked_placing(asked, log), "e");

		meter_return_anomalies(asked, "in the future",
							   psprintf("SELECT NULL, e.resource, %s, e.arrival, "
										"format('%%s: counts when the watermark gets there', %s) FROM %s.%s e "
										"WHERE %s > meter_internal.clock_now() + '5 minutes'::interval%s",
										time,
										log == METER_LOG_EVENT ? "e.action" : "'measure'",
										asked->schema, meter_log_names[log],
										time, meter_asked_resource(asked)));
	}
}

/* What duplicates must agree in. */
static const char *const contents[METER_NLOGS] = {
	"ROW(e.\"time\", e.account, " METER_ENTITY_OF("e") ", e.offering, e.value, e.attributes)::text",
	"ROW(e.start_time, e.end_time, e.account, " METER_ENTITY_OF("e") ", e.value, e.attributes)::text"
};

/*
 * Duplicates that say something else.  Only rows whose hash is met twice are
 * compared.
 */
static void
conflicting_duplicate(MeterAsked *asked)
{
	MeterLog	log;

	for (log = METER_LOG_EVENT; log < METER_NLOGS && asked->meter == NULL; log++)
	{
		const char *rows = psprintf("%s.%s e WHERE e.id IS NOT NULL%s%s",
									asked->schema, meter_log_names[log],
									log == METER_LOG_EVENT ? " AND e.action <> 'void'" : "",
									meter_asked_resource(asked));
		const char *key = meter_row_key(log, "e");
		MeterPlacing placing = meter_asked_placing(asked, log);
		const char *time = meter_row_time(placing, "e");

		meter_return_anomalies(asked, "conflicting duplicate",
							   psprintf("SELECT NULL::text, c.resource, c.at, c.arrival, "
										"format('%s, and says something else', c.other) "
										"FROM (SELECT e.resource, %s AS at, e.arrival, %s AS content, "
										"lag(%s) OVER w AS content_before, lag(e.arrival) OVER w AS other, "
										"lag(%s) OVER w AS before FROM %s "
										"AND %s IN (SELECT %s FROM %s GROUP BY 1 HAVING count(*) > 1) "
										"WINDOW w AS (PARTITION BY %s ORDER BY %s)) c "
										"WHERE c.content <> c.content_before AND c.before >= %s",
										log == METER_LOG_EVENT ? "arrival %s has the same source, id and action" :
										"measure: arrival %s has the same source and id",
										time, contents[log], contents[log],
										time, rows, key, key, rows,
										meter_row_name(log, "e"), meter_row_order(placing, "e"),
										meter_earlier_by("c.at", asked->window)));
	}
}

/* What snapshots found. */
static void
reconciled(MeterAsked *asked)
{
	meter_return_anomalies(asked, "reconciled",
						   psprintf("SELECT e.attributes ->> 'meter', e.resource, e.\"time\", e.arrival, "
									"meter_internal.observation_text(e.action, e.source, e.\"time\", e.attributes) "
									"FROM %s.event e WHERE " METER_IS_OBSERVATION("e") "%s",
									asked->schema, meter_asked_resource(asked)));
}

/* Resources whose usage is billed to nobody. */
static void
unknown_account(MeterAsked *asked, const MeterDefinition *definition,
				const MeterProgress *progress pg_attribute_unused())
{
	meter_return_anomalies(asked, "unknown account",
						   psprintf("SELECT e.meter, e.resource, e.unnamed_since, NULL::bigint, %s "
									"FROM %s._resource_state e WHERE e.meter = %s "
									"AND e.unnamed_since IS NOT NULL%s%s",
									meter_usage_of(definition)->log == METER_LOG_EVENT ?
									"'no event has named its account: what it uses is billed to nobody'" :
									"'neither its measures nor an event has named its account: what it uses is billed to nobody'",
									asked->schema, quote_literal_cstr(definition->name),
									meter_asked_resource(asked),
									asked->resource == 0 ? "" :
									psprintf(" AND e.hash = meter_internal.resource_hash(%s, e.meter, $1)",
											 quote_literal_cstr(asked->stream))));
}

/* Values that are no numbers. */
static void
not_a_number(MeterAsked *asked, const MeterDefinition *definition,
			 const MeterProgress *progress pg_attribute_unused())
{
	const MeterUsage *usage = meter_usage_of(definition);
	bool		events = usage->log == METER_LOG_EVENT;
	const char *key = quote_literal_cstr(definition->value_from);
	StringInfoData sql;

	if (definition->aggregate == METER_DURATION ||
		definition->aggregate == METER_UNIQUE ||
		strcmp(definition->value_from, "value") == 0)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %s::text, e.resource, %s, e.arrival, "
					 "format('attribute %%I says %%s, which %s', %s, e.attributes -> %s) "
					 "FROM %s.%s e WHERE e.attributes ->> %s IS NOT NULL%s AND ",
					 quote_literal_cstr(definition->name),
					 meter_row_time(meter_placing(definition, usage->log), "e"),
					 events ? "changes nothing" : "counts for nothing", key,
					 key, asked->schema, meter_log_names[usage->log], key,
					 meter_asked_resource(asked));
	if (events)
	{
		meter_append_event_filter(&sql, definition);
		appendStringInfoString(&sql, " AND ");
	}
	else if (definition->entity != NULL)
		appendStringInfo(&sql, "e.entity = %s AND ",
						 quote_literal_cstr(definition->entity));
	meter_append_number_attribute(&sql, definition->value_from);
	appendStringInfoString(&sql, " IS NULL");
	meter_return_anomalies(asked, "not a number", sql.data);
}

/* --- starts and stops out of turn ----------------------------------------- */

/* What starts and stops come to, instant by instant. */
typedef struct Turns
{
	MeterAsked *asked;
	const char *class;			/* NULL: both */
	bool		was_open;
	bool		ended;			/* for good: starts are ignored */
	bool		any;			/* in the instant at hand */
	TimestampTz at;
	bool		starts;
	bool		stops;
	bool		ends;
	int64		arrival;		/* the least */
} Turns;

/* End an instant: does it start what runs, or stop what does not? */
static void
end_instant(MeterFold *fold, Turns *turns)
{
	bool		start = turns->starts;
	const char *class = start ? "duplicate start" : "orphan stop";

	if (!turns->any)
		return;
	turns->any = false;
	if (turns->ends)
	{
		turns->was_open = false;
		turns->ended = true;
		return;
	}
	if (turns->starts && turns->stops)
		return;
	if (start == turns->was_open &&
		(turns->class == NULL || strcmp(class, turns->class) == 0))
		meter_put_anomaly(turns->asked, class, fold, turns->at, &turns->arrival,
						  start ? "it was running already" :
						  "it was not running");
	turns->was_open = start;
}

/* Take a row of a resource. */
static void
take_row(MeterFold *fold, MeterRowKind kind, TimestampTz time,
		 const TupleTableSlot *slot)
{
	Turns	   *turns = fold->look_arg;
	int64		arrival;

	if (kind == METER_ROW_CARRIED_OPEN)
		turns->was_open = true;
	if (kind == METER_ROW_CARRIED_CLOSED)
		turns->ended = DatumGetBool(slot->tts_values[METER_FOLD_ENDED]);
	if (kind != METER_ROW_START && kind != METER_ROW_STOP &&
		kind != METER_ROW_END)
		return;
	if (turns->any && time != turns->at)
		end_instant(fold, turns);
	if (turns->ended && kind == METER_ROW_START)
		return;
	arrival = DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL]);
	if (!turns->any)
	{
		turns->any = true;
		turns->at = time;
		turns->starts = turns->stops = turns->ends = false;
		turns->arrival = arrival;
	}
	turns->arrival = Min(turns->arrival, arrival);
	turns->starts |= kind == METER_ROW_START;
	turns->stops |= kind == METER_ROW_STOP;
	turns->ends |= kind == METER_ROW_END;
}

/* End a resource. */
static void
end_resource(MeterFold *fold)
{
	Turns	   *turns = fold->look_arg;

	end_instant(fold, turns);
	turns->was_open = turns->ended = false;
}

/* Find starts and stops out of turn. */
static void
out_of_turn(MeterAsked *asked, const char *class,
			const MeterDefinition *definition, const MeterProgress *progress)
{
	static const MeterLook look = {take_row, end_resource, NULL};
	Turns		turns;
	MeterFold  *fold;

	if (meter_usage_of(definition)->log != METER_LOG_EVENT)
		return;
	memset(&turns, 0, sizeof(turns));
	turns.asked = asked;
	turns.class = class;
	fold = meter_fold_begin(meter_usage_of(definition), definition,
							progress);
	fold->from = fold->to = DT_NOEND;	/* no usage is asked for */
	fold->scope.to = fold->scope.settled_to = DT_NOEND;
	fold->scope.arrivals = true;
	/* nothing is computed, so what is set aside is looked at, too */
	fold->failure = METER_FOLD_RAISES;
	fold->look = &look;
	fold->look_arg = &turns;
	if (asked->resource != 0)
	{
		MeterResources *resources = meter_resources_begin();

		meter_resources_add(resources, meter_attr_from_text(asked->resource));
		fold->scope.resources = meter_resources_names(resources);
		meter_fold_find_places(fold);
	}
	meter_fold_run(fold);
	meter_fold_end(fold);
}

/* Starts of what runs; with all classes, stops of what does not, too. */
static void
duplicate_start(MeterAsked *asked, const MeterDefinition *definition,
				const MeterProgress *progress)
{
	out_of_turn(asked, asked->class, definition, progress);
}

/* Stops of what does not run; with all classes one pass has found them. */
static void
orphan_stop(MeterAsked *asked, const MeterDefinition *definition,
			const MeterProgress *progress)
{
	if (asked->class != NULL)
		out_of_turn(asked, asked->class, definition, progress);
}

/* --- the function --------------------------------------------------------- */

static const AnomalyClass classes[] = {
	{"quarantined", quarantined, NULL},
	{"too late", too_late, NULL},
	{"in the future", in_the_future, NULL},
	{"conflicting duplicate", conflicting_duplicate, NULL},
	{"void of nothing", meter_void_of_nothing, NULL},
	{"not counted", meter_not_counted, NULL},
	{"reconciled", reconciled, NULL},
	{"opened by another source", meter_opened_by_another, NULL},
	{"since too early", meter_since_too_early, NULL},
	{"duplicate start", NULL, duplicate_start},
	{"orphan stop", NULL, orphan_stop},
	{"after its end", NULL, meter_after_its_end},
	{"silent", NULL, meter_silent},
	{"unknown account", NULL, unknown_account},
	{"not a number", NULL, not_a_number},
	{"same name, other action", NULL, meter_other_action},
	{"counter drop", NULL, meter_counter_drop},
	{"passed over", NULL, meter_passed_over}
};

/* Check that there is a class of that name. */
static void
check_class(const char *class)
{
	StringInfoData names;
	int			i;

	initStringInfo(&names);
	for (i = 0; i < (int) lengthof(classes); i++)
	{
		if (class == NULL || strcmp(class, classes[i].name) == 0)
			return;
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", classes[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no class \"%s\" of anomalies", class),
			 errhint("The classes are: %s.", names.data)));
}

/* Return the anomalies that are asked for, of the stream or of a shard. */
static void
return_classes(MeterAsked *asked)
{
	MeterSession session;
	ListCell   *cell;
	int			i;

	for (i = 0; i < (int) lengthof(classes); i++)
	{
		if (asked->class != NULL && strcmp(asked->class, classes[i].name) != 0)
			continue;
		if (classes[i].of_stream != NULL)
		{
			meter_session_begin(&session, meter_stream_owner(asked->stream));
			meter_check_stream(asked->stream);
			classes[i].of_stream(asked);
			meter_session_end(&session);
			continue;
		}
		foreach(cell, asked->meters)
		{
			const MeterAskedMeter *meter = lfirst(cell);

			if (asked->meter != NULL &&
				strcmp(meter->definition->name, asked->meter) != 0)
				continue;
			meter_session_begin(&session, meter_stream_owner(asked->stream));
			meter_check_stream(asked->stream);
			classes[i].of_meter(asked, meter->definition, meter->progress);
			meter_session_end(&session);
		}
	}
}

/* Return the deduplication window of a stream. */
static int64
deduplication_window(const char *stream)
{
	MeterSession session;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};
	int64		window;
	bool		isnull;

	meter_session_begin(&session, meter_extension_owner());
	meter_execute_params("SELECT deduplication_window FROM meter.stream WHERE name = $1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	window = meter_interval_usec(DatumGetIntervalP(meter_result(0, 1, &isnull)),
								 "deduplication_window");
	meter_session_end(&session);
	return window;
}

/* Look up the meters of the stream, and what is the same for all. */
static void
look_up_stream(MeterAsked *asked)
{
	if (asked->meter != NULL)
		(void) meter_load(asked->stream, asked->meter, METER_LOCK_NONE);	/* raises an error if
																			 * there is none */
	asked->meters = meter_asked_about(asked->stream);
	asked->window = deduplication_window(asked->stream);
}

/* Return the anomalies that are asked for, as meter_with_one_snapshot() calls it. */
static void
return_anomalies(void *arg)
{
	look_up_stream(arg);
	return_classes(arg);
}

/* --- on a cluster --------------------------------------------------------- */

/* What the question says. */
enum
{
	SAID_CLASS,					/* these may be NULL */
	SAID_METER,
	SAID_RESOURCE,
	SAID_DURING,				/* a range as a text */
	SAID_WINDOW,				/* a number as a text */
	NSAID
};

/* Return the anomalies that are asked for, of a shard. */
static void
answer(MeterShardQuestion *question)
{
	MeterAsked	asked = {0};

	asked.fcinfo = question->fcinfo;
	asked.stream = question->stream;
	asked.schema = quote_identifier(question->stream);
	asked.class = question->said[SAID_CLASS];
	asked.meter = question->said[SAID_METER];
	if (question->said[SAID_RESOURCE] != NULL)
		asked.resource = CStringGetTextDatum(question->said[SAID_RESOURCE]);
	asked.during = meter_said_value(question->said[SAID_DURING], TSTZRANGEOID);
	asked.window = DatumGetInt64(meter_said_value(question->said[SAID_WINDOW], INT8OID));
	asked.meters = question->meters;
	asked.of_shard = true;
	return_classes(&asked);
}

PG_FUNCTION_INFO_V1(meter_anomalies_of_shard);

/* anomalies_of_shard(stream, key, tables, meters, numbers, seen, said) */
Datum
meter_anomalies_of_shard(PG_FUNCTION_ARGS)
{
	return meter_answer(fcinfo, NSAID, answer);
}

/* Take an anomaly of a shard. */
static void
take_anomaly(void *arg, TupleTableSlot *slot)
{
	meter_add_row(arg, slot->tts_values + 1, slot->tts_isnull + 1);
}

/* Return the anomalies of all shards, by class. */
static void
return_found(const MeterAsked *asked, const MeterRows *found)
{
	StringInfoData names;
	MeterSession session;
	int			i;

	initStringInfo(&names);
	for (i = 0; i < (int) lengthof(classes); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 quote_literal_cstr(classes[i].name));
	meter_session_begin(&session, meter_stream_owner(asked->stream));
	meter_register_rows(found);
	meter_execute(psprintf("SELECT x.class, x.meter, x.resource, x.\"time\", x.arrival, x.detail FROM ("
						   "SELECT f.class, f.meter, f.resource, f.\"time\", f.arrival, f.detail, f.place FROM found f WHERE f.count IS NULL "
						   "UNION ALL SELECT f.class, f.meter, f.resource, max(f.\"time\"), max(f.arrival), "
						   METER_COUNTED("f.detail", "sum(f.count)") ", NULL "
						   "FROM found f WHERE f.count IS NOT NULL GROUP BY f.class, f.meter, f.resource, f.detail) x "
						   "ORDER BY array_position(ARRAY[%s], x.class), x.place, x.meter COLLATE \"C\", x.arrival, x.\"time\", x.resource COLLATE \"C\"",
						   names.data), SPI_OK_SELECT);
	meter_return_result(asked->fcinfo);
	meter_session_end(&session);
}

/*
 * Return the anomalies of the shards, or of the one that has the resource.  Returns
 * false if one has come further.
 */
static bool
ask_shards(void *arg)
{
	static const char *const names[] = {"class", "meter", "resource", "time", "arrival", "detail", "place", "count"};
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID, INT8OID};
	MeterAsked *asked = arg;
	const char *said[NSAID] = {asked->class, asked->meter};
	MeterQuestion question = {
		.stream = asked->stream,
		.function = "anomalies_of_shard",
		.resource = asked->resource,
		.said = said,
		.nsaid = NSAID
	};
	MeterRows	found;
	bool		answered;

	look_up_stream(asked);
	question.meters = asked->meters;
	if (asked->resource != 0)
		said[SAID_RESOURCE] = TextDatumGetCString(asked->resource);
	said[SAID_DURING] = meter_said_text(asked->during, TSTZRANGEOID);
	said[SAID_WINDOW] = psprintf(INT64_FORMAT, asked->window);
	meter_begin_rows(&found, "found", lengthof(types), names, types);
	answered = meter_ask_shards(&question, take_anomaly, &found);
	if (answered)
		return_found(asked, &found);
	tuplestore_end(found.store);
	return answered;
}

/* --- the function --------------------------------------------------------- */

/* Return the anomalies that the arguments from `first` on ask for. */
static Datum
anomalies(FunctionCallInfo fcinfo, char *stream, Datum key, int first)
{
	MeterAsked	asked = {0};

	asked.fcinfo = fcinfo;
	asked.stream = stream;
	asked.schema = quote_identifier(stream);
	asked.class = PG_ARGISNULL(first) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(first));
	asked.meter = PG_ARGISNULL(first + 1) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(first + 1));
	asked.resource = PG_ARGISNULL(first + 2) ? (Datum) 0 :
		PointerGetDatum(PG_GETARG_TEXT_PP(first + 2));
	asked.during = PG_ARGISNULL(first + 3) ? (Datum) 0 :
		PG_GETARG_DATUM(first + 3);
	check_class(asked.class);
	/* an anomaly is of a resource, which may be of several accounts */
	if (meter_check_may_read(stream, "anomaly", key) != (Datum) 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("stream \"%s\" isolates tenants: who sees the usage of some accounts only sees no anomalies",
						stream),
				 meter_access_hint(stream, METER_ACCESS_ANALYST)));
	meter_return_begin(fcinfo);
	if (meter_stream_shards(stream) > 0)
		meter_ask(stream, fcinfo, ask_shards, &asked);
	else
		/* what the query sees, not what is there at this moment */
		meter_with_one_snapshot(return_anomalies, &asked);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meter_anomalies);

/* anomalies(stream, class, meter, resource, during) */
Datum
meter_anomalies(PG_FUNCTION_ARGS)
{
	return anomalies(fcinfo, meter_text_arg(fcinfo, 0, "stream"), (Datum) 0, 1);
}

PG_FUNCTION_INFO_V1(meter_anomalies_of_view);

/* anomalies(stream, key, class, meter, resource, during) */
Datum
meter_anomalies_of_view(PG_FUNCTION_ARGS)
{
	return anomalies(fcinfo, meter_text_arg(fcinfo, 0, "stream"),
					 PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1), 2);
}
