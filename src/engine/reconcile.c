/*
 * reconcile.c
 *	  Snapshots: comparing them with what meters make of the log.
 *
 * A snapshot of a source says of each of its resources whether it ran.  Where a
 * meter makes something else of the log, an observation is logged, as evidence
 * that is evaluated like an event (see observation.c).  Where they agree
 * nothing is logged, so the comparison is made again whenever something
 * arrives that bears on it: rows, snapshots of earlier instants, new meters.
 *
 * A comparison holds the lock on the meter's row.  The ids of observations are
 * made of what they are about, so that none is logged twice.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/limits.h"
#include "catalog/progress.h"
#include "catalog/source.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/observation.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/findings.h"
#include "engine/fold.h"
#include "engine/late_rows.h"
#include "engine/reconcile.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/scatter.h"
#include "engine/states.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/attr.h"
#include "pg/now.h"
#include "pg/quantity.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/wake.h"

/* Rows of snapshots are looked up one by one for up to so many of them. */
#define FEW_LOOKUPS		100000

/* A snapshot may end so many runs, and this part of those that go on. */
#define FEW_STOPS		10
#define MAX_STOPS_PERCENT	20

/* The snapshot that is being reconciled; source and at are literals. */
typedef struct Target
{
	const char *source;
	const char *at;
	TimestampTz instant;
	const char *tolerance;
	const char *unread;			/* query: resources with rows from before the
								 * watermark that no step has read; or NULL */
	int			pass;			/* what is found comes in the order of these */
} Target;

/* Append the condition that a row e of the inventory is about a meter. */
static void
append_concerned(StringInfo sql, const MeterDefinition *definition)
{
	const char *meter = quote_literal_cstr(definition->name);
	const char *entity;

	if (definition->entity == NULL)
	{
		appendStringInfo(sql, "(e.meter IS NULL OR e.meter = %s)", meter);
		return;
	}
	entity = quote_literal_cstr(definition->entity);
	appendStringInfo(sql, "((e.meter IS NULL AND e.entity = %s) OR "
					 "(e.meter = %s AND coalesce(" METER_ENTITY_OF("e") ", %s) = %s))",
					 entity, meter, entity, entity);
}

/*
 * Append a dimension as a row e of the inventory has it: its source is whose
 * snapshot it is, and says nothing of the resource.
 */
static void
append_said_dimension(StringInfo sql, const char *name)
{
	if (strcmp(name, "source") == 0)
		appendStringInfoString(sql, "NULL::text");
	else
		meter_append_dimension(sql, name);
}

/*
 * Append the condition that a row e of the inventory names something that
 * differs from the state r.
 */
static void
append_differs(StringInfo sql, const MeterDefinition *definition)
{
	int			i;

	appendStringInfoString(sql, "e.account <> coalesce(r.account, '')");
	for (i = 0; i < definition->ndimensions; i++)
	{
		appendStringInfoString(sql, " OR coalesce(");
		append_said_dimension(sql, definition->dimension_names[i]);
		appendStringInfo(sql, ", r.dimensions[%d]) IS DISTINCT FROM r.dimensions[%d]",
						 i + 1, i + 1);
	}
	if (definition->aggregate == METER_WEIGHTED)
	{
		appendStringInfoString(sql, " OR coalesce(");
		meter_append_value(sql, definition);
		appendStringInfoString(sql, ", r.value) IS DISTINCT FROM r.value");
	}
}

/*
 * Append a query for the resources of which a snapshot at or after the
 * watermark may have something to say, from the states at the watermark: those
 * to which something happened since are all among them.
 */
static void
append_suspects(StringInfo sql, const MeterDefinition *definition, const MeterProgress *progress,
				const Target *target)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	StringInfoData snapshot;

	initStringInfo(&snapshot);
	appendStringInfo(&snapshot, "%s.inventory e WHERE e.source = %s AND e.at = %s AND ",
					 schema, target->source, target->at);
	append_concerned(&snapshot, definition);

	appendStringInfo(sql,
					 "SELECT r.resource FROM %s._resource_state r WHERE r.meter = %s AND r.since IS NOT NULL "
					 "AND r.source = %s AND NOT EXISTS (SELECT FROM %s AND e.resource = r.resource) "
					 "UNION SELECT e.resource FROM (SELECT e.* FROM %s) e "
					 "LEFT JOIN %s._resource_state r ON r.meter = %s AND r.resource = e.resource "
					 "WHERE r.resource IS NULL OR (r.since IS NULL "
					 "OR e.since - %s > r.since OR ",
					 schema, meter, target->source, snapshot.data,
					 snapshot.data, schema, meter, target->tolerance);
	append_differs(sql, definition);
	appendStringInfo(sql, ") UNION SELECT e.resource FROM %s.event e WHERE "
					 "((e.\"time\" >= %s AND e.\"time\" <= %s) OR "
					 "(e.\"time\" > %s AND " METER_IS_OBSERVATION("e") ")) AND ",
					 schema, meter_timestamp_literal(progress->watermark),
					 target->at, target->at);
	meter_append_bearing_filter(sql, definition);
}

/*
 * Append a query for all resources of which the source of a snapshot may have
 * something to say, from the whole log.
 */
static void
append_all_suspects(StringInfo sql, const MeterDefinition *definition,
					const Target *target)
{
	const char *schema = quote_identifier(definition->stream);

	appendStringInfo(sql, "SELECT e.resource FROM %s.inventory e "
					 "WHERE e.source = %s AND e.at = %s AND ",
					 schema, target->source, target->at);
	append_concerned(sql, definition);
	appendStringInfo(sql, " UNION SELECT e.resource FROM %s.event e "
					 "WHERE coalesce(e.source, '') = %s AND ",
					 schema, target->source);
	meter_append_bearing_filter(sql, definition);
}

/*
 * Append a query (source, at, tolerance) for the snapshots to compare with:
 * those from an instant on, and of each source the one before, which tells
 * what it showed last, with all others of its instant: one that has a resource
 * silences those that do not.
 */
static void
append_checked(StringInfo sql, const MeterDefinition *definition,
			   const char *from, const Target *target)
{
	const char *schema = quote_identifier(definition->stream);

	appendStringInfo(sql,
					 "SELECT n.source, n.at, n.tolerance FROM %s.snapshot n "
					 "WHERE NOT n.pruned AND (n.at >= %s OR n.at IN (SELECT max(p.at) FROM %s.snapshot p "
					 "WHERE p.at < %s AND NOT p.pruned GROUP BY p.source))",
					 schema, from, schema, from);
	if (target != NULL)
		appendStringInfo(sql, " UNION SELECT %s::text COLLATE \"C\", %s, %s",
						 target->source, target->at, target->tolerance);
}

/* Append the dimensions of a row e, as the state has them. */
static void
append_dimensions(StringInfo sql, const MeterDefinition *definition)
{
	int			i;

	appendStringInfoString(sql, "ARRAY[");
	for (i = 0; i < definition->ndimensions; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, ", ");
		append_said_dimension(sql, definition->dimension_names[i]);
	}
	appendStringInfoString(sql, "]::text[]");
}

/*
 * Append a query for what each of the snapshots "checked" says of each
 * resource of "affected".
 */
static void
append_said(StringInfo sql, const MeterDefinition *definition, bool few)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);

	appendStringInfoString(sql,
						   "SELECT t.resource, c.source, c.at, c.tolerance, i.resource IS NOT NULL AS present, "
						   "i.account, i.entity, i.offering, i.value, i.attributes, ");
	/* what lies too far back counts as not said */
	if (definition->has_max_lateness)
		appendStringInfo(sql, "CASE WHEN c.at - i.since <= %1$s THEN i.since END AS since, "
						 "CASE WHEN c.at - i.since > %1$s THEN i.since END AS too_early, ",
						 psprintf("'" INT64_FORMAT " microseconds'::interval",
								  definition->max_lateness));
	else
		appendStringInfoString(sql, "i.since, NULL::timestamptz AS too_early, ");
	appendStringInfoString(sql, "i.dimensions, i.measured FROM affected t CROSS JOIN checked c LEFT JOIN ");
	appendStringInfo(sql, "%s(SELECT e.*, ", few ? "LATERAL " : "");
	append_dimensions(sql, definition);
	appendStringInfoString(sql, " AS dimensions, ");
	meter_append_value(sql, definition);
	appendStringInfo(sql, " AS measured FROM %s.inventory e WHERE ", schema);
	append_concerned(sql, definition);
	if (few)
		appendStringInfoString(sql, " AND e.source = c.source AND e.at = c.at AND e.resource = t.resource "
							   "ORDER BY e.meter IS NULL LIMIT 1) i ON true");
	else
		appendStringInfo(sql, " AND (e.source, e.at) IN (SELECT k.source, k.at FROM checked k) "
						 "AND (e.meter IS NOT NULL OR (e.source, e.at, e.resource) NOT IN "
						 "(SELECT x.source, x.at, x.resource FROM checked k JOIN %s.inventory x "
						 "ON x.source = k.source AND x.at = k.at WHERE x.meter = %s))) i "
						 "ON i.source = c.source AND i.at = c.at AND i.resource = t.resource",
						 schema, meter);
}

/* What a finding is called, and what it does. */
#define PROBLEM \
	"CASE w.effect WHEN 'ends' THEN 'lost stop: meter ' || %s || ' has it running, the snapshot does not hold it' " \
	"WHEN 'opens' THEN 'lost start: the snapshot holds it, meter ' || %s || ' does not have it running' " \
	"WHEN 'cuts' THEN format('lost stop and start: meter %%s has had it running before %%s', %s, w.since) " \
	"WHEN 'changes' THEN 'lost change: meter ' || %s || ' has other attributes' " \
	"WHEN 'moves' THEN format('moved: meter %%s has it running, and the snapshot that held it last is that of %%s', %s, w.other) " \
	"ELSE 'another snapshot finds something that this one bears on, for meter ' || %s END"
#define CORRECTION \
	"CASE w.effect WHEN 'ends' THEN format('the run ends at %s, where it was last known alive', w.effect_from) " \
	"WHEN 'opens' THEN format('it runs from %s', w.effect_from) || " \
	"CASE WHEN w.since < w.effect_from THEN format(', since it was not running after %s', w.since) ELSE '' END " \
	"WHEN 'cuts' THEN format('nothing ran from %s to %s', w.effect_from, w.effect_to) " \
	"WHEN 'changes' THEN 'those of the snapshot apply' " \
	"WHEN 'moves' THEN format('it runs on, and belongs to %s', w.other) " \
	"ELSE 'what it says is logged, for that one to count with' END || " \
	"CASE WHEN w.effect <> 'moves' AND w.other IS NOT NULL THEN " \
	"format('; it belongs to %s, no longer to %s', w.source, w.other) ELSE '' END"

/* What snapshots find of a resource that is not logged. */
enum
{
	SPOKEN_RESOURCE,
	SPOKEN_SOURCE,
	SPOKEN_AT,
	SPOKEN_WAS_ACTIVE,
	SPOKEN_EFFECT,
	SPOKEN_FROM,
	SPOKEN_TO,
	SPOKEN_ALIVE,
	SPOKEN_OTHER,
	SPOKEN_NCOLUMNS
};

/* Begin the list of what is spoken. */
static void
begin_spoken(MeterRows *spoken)
{
	static const char *const names[] = {"resource", "source", "at", "was_active", "effect", "effect_from", "effect_to", "alive", "other"};
	static const Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, BOOLOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};

	meter_begin_rows(spoken, "spoken", SPOKEN_NCOLUMNS, names, types);
}

/* Set an instant, or NULL. */
static void
set_instant(Datum *values, bool *nulls, int column, int64 instant)
{
	nulls[column] = instant == METER_BEGIN;
	values[column] = TimestampTzGetDatum(instant);
}

/* What a comparison finds. */
typedef struct Findings
{
	MeterRows	spoken;
	MeterResources *deep;		/* resources to compare with all snapshots;
								 * NULL: they are */
} Findings;

/* Note what comes of each candidate of a resource that makes a difference. */
static void
note_spoken(MeterFold *fold, MeterCollected *collected,
			MeterTimeline *timeline pg_attribute_unused())
{
	static const char *const effects[] = {
		"agrees", "evidence", "moves", "changes", "ends", "opens", "cuts"
	};
	Findings   *findings = fold->look_arg;
	int32		i;

	if (collected->events.deep && findings->deep != NULL)
	{
		(void) meter_resources_add(findings->deep, fold->resource);
		return;
	}
	for (i = 0; i < collected->events.nobservations; i++)
	{
		const MeterObservation *observation = &collected->events.observations[i];
		bool		active = observation->own && observation->was_open;
		Datum		values[SPOKEN_NCOLUMNS];
		bool		nulls[SPOKEN_NCOLUMNS];

		if (observation->standing == METER_LOGGED ||
			(observation->effect == METER_AGREES && !active))
			continue;
		memset(nulls, false, sizeof(nulls));
		values[SPOKEN_RESOURCE] = meter_text_from_attr(fold->resource);
		values[SPOKEN_SOURCE] =
			meter_text_from_attr(collected->events.sources[observation->source - 1]);
		values[SPOKEN_AT] = TimestampTzGetDatum(observation->time);
		values[SPOKEN_WAS_ACTIVE] = BoolGetDatum(active);
		values[SPOKEN_EFFECT] = CStringGetTextDatum(effects[observation->effect]);
		set_instant(values, nulls, SPOKEN_FROM, observation->from);
		set_instant(values, nulls, SPOKEN_TO, observation->to);
		if (observation->effect <= METER_EVIDENCE)
			nulls[SPOKEN_FROM] = nulls[SPOKEN_TO] = true;
		set_instant(values, nulls, SPOKEN_ALIVE, observation->alive);
		nulls[SPOKEN_OTHER] = MeterAttrIsNull(observation->other) ||
			observation->effect <= METER_EVIDENCE;
		values[SPOKEN_OTHER] = nulls[SPOKEN_OTHER] ? (Datum) 0 :
			meter_text_from_attr(observation->other);
		meter_add_row(&findings->spoken, values, nulls);
	}
}

/*
 * Find what snapshots from an instant on say of resources, as rows "said".
 * $1 are the resources.
 */
static void
find_said(const MeterDefinition *definition, const char *from,
		  const Target *target, bool few, Datum resources, MeterRows *said)
{
	StringInfoData sql;
	Oid			type = TEXTARRAYOID;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH affected AS MATERIALIZED (SELECT r COLLATE \"C\" AS resource FROM unnest($1) r), "
						   "checked AS MATERIALIZED (");
	append_checked(&sql, definition, from, target);
	appendStringInfoString(&sql, ") ");
	append_said(&sql, definition, few);
	meter_keep_rows(said, "said", sql.data, 1, &type, &resources);
}

/* Return a query for what is said, as rows of the fold. */
static char *
said_as_rows(const MeterDefinition *definition, const char *known_before)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s.at, CASE WHEN s.at < %s THEN "
					 "CASE WHEN s.present THEN " METER_SQL_KIND(KNOWN_PRESENT) " ELSE " METER_SQL_KIND(KNOWN_ABSENT) " END ELSE "
					 "CASE WHEN s.present THEN " METER_SQL_KIND(CANDIDATE_PRESENT) " ELSE " METER_SQL_KIND(CANDIDATE_ABSENT) " END END::\"char\", "
					 "s.resource COLLATE \"C\", s.account, s.measured, s.source, jsonb_build_object('since', s.since, "
					 "'tolerance', extract(epoch FROM s.tolerance)), NULL::bigint, NULL::bigint, NULL::text", known_before);
	for (i = 1; i <= definition->ndimensions; i++)
		appendStringInfo(&sql, ", s.dimensions[%d]", i);
	appendStringInfoString(&sql, " FROM said s");
	return sql.data;
}

/*
 * Fold resources with what is said of them, and find what of it is news.  The
 * state that is carried, at the watermark or the retention boundary, knows of
 * snapshots before it.
 */
static void
fold_said(const MeterDefinition *definition, const MeterProgress *progress,
		  const MeterResources *affected, bool carried, int64 sealed,
		  bool dry_run, Findings *findings)
{
	static const MeterLook look = {NULL, NULL, note_spoken};
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);
	TimestampTz known_before = carried ? progress->watermark :
	definition->boundary;

	fold->from = fold->to = DT_NOEND;	/* no usage is asked for */
	fold->carried = carried;
	fold->asked = affected;
	fold->scope.from = carried ? progress->watermark : DT_NOBEGIN;
	fold->scope.to = fold->scope.settled_to = DT_NOEND;
	fold->scope.resources = meter_resources_names(affected);
	fold->scope.places.sealed = sealed;
	fold->scope.voids_from_log = true;
	fold->more_rows = said_as_rows(definition,
								   meter_timestamp_literal(known_before));
	fold->look = &look;
	fold->look_arg = findings;
	if (carried)
		fold->states = meter_states_begin(definition, "_resource_state", false);
	fold->own_snapshot = true;
	if (!dry_run)
		fold->failure = METER_FOLD_SETS_ASIDE;
	meter_fold_run(fold);
	if (carried)
		(void) meter_states_end(fold->states);
	meter_fold_end(fold);
}

/* The columns of what a comparison returns. */
enum
{
	COMPARED_RESOURCE = 1,
	COMPARED_PROBLEM,
	COMPARED_CORRECTION,
	COMPARED_TIME,
	COMPARED_NUMBERS,			/* METER_NFOUND of them, in the first row */
	COMPARED_AT = COMPARED_NUMBERS + METER_NFOUND,	/* on a shard */
	COMPARED_WHAT
};

/* Return the corrections of the last comparison as rows. */
static void
return_corrections(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	uint64		i;

	for (i = 1; i < SPI_processed; i++)
	{
		Datum		values[COMPARED_TIME];
		bool		nulls[COMPARED_TIME];
		int			column;

		for (column = 0; column < COMPARED_TIME; column++)
			values[column] = meter_result(i, column + 1, &nulls[column]);
		tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
	}
}

/* Tell the coordinator what the last comparison found on a shard. */
static void
tell_findings(int pass)
{
	uint64		i;

	for (i = 1; i < SPI_processed; i++)
	{
		bool		isnull;

		meter_tell_found(meter_result(i, COMPARED_RESOURCE, &isnull),
						 DatumGetTimestampTz(meter_result(i, COMPARED_AT, &isnull)),
						 pass, meter_result(i, COMPARED_WHAT, &isnull));
	}
}

/* The columns of the log that observations have. */
#define LOGGED_COLUMNS \
	"source, id, \"time\", resource, account, entity, action, offering, value, attributes"

/*
 * Append the part of a comparison that logs what it found, as "fresh", unless
 * it is logged already.  On a shard, that is left to the coordinator.
 */
static void
append_log(StringInfo sql, const MeterDefinition *definition)
{
	const char *schema = quote_identifier(definition->stream);

	appendStringInfo(sql,
					 ", fresh AS MATERIALIZED (SELECT w.source, w.id, w.at AS \"time\", w.resource, w.account, w.entity, "
					 "'reconciled:' || w.kind AS action, w.offering, w.value, coalesce(w.attributes, '{}') || jsonb_strip_nulls(jsonb_build_object("
					 "'meter', %s::text, 'since', w.since, 'alive', w.alive, 'tolerance', "
					 "CASE WHEN w.since IS NOT NULL AND w.tolerance <> '1 minute' THEN extract(epoch FROM w.tolerance) END, "
					 "CASE w.effect WHEN 'moves' THEN 'moved_to' ELSE 'belonged_to' END, w.other, "
					 "'since_too_early', CASE w.effect WHEN 'opens' THEN w.too_early END)) AS attributes "
					 "FROM needed w WHERE NOT EXISTS (SELECT FROM %s.event l WHERE l.resource = w.resource COLLATE \"C\" "
					 "AND l.id = w.id COLLATE \"C\" AND l.source = w.source COLLATE \"C\" AND l.\"time\" = w.at))",
					 quote_literal_cstr(definition->name), schema);
	if (meter_current_shard() == NULL)
		appendStringInfo(sql,
						 ", logged AS (INSERT INTO %s.event (" LOGGED_COLUMNS ") SELECT " LOGGED_COLUMNS " FROM fresh "
						 "ORDER BY \"time\", resource COLLATE \"C\" RETURNING 1)",
						 schema);
}

/*
 * Append the rows of a comparison that say what was corrected, and on a shard
 * what is to be logged: all that the coordinator needs of a finding is a row
 * there, in one value.  No column has the name of a table: a stream may be called
 * as an alias is.
 */
static void
append_corrections(StringInfo sql, const MeterDefinition *definition,
				   const Target *target, bool dry_run)
{
	bool		of_shard = meter_current_shard() != NULL;
	const char *meter = quote_literal_cstr(definition->name);
	StringInfoData said;

	initStringInfo(&said);
	if (target != NULL)
	{
		appendStringInfo(&said, PROBLEM " || "
						 "CASE WHEN w.source = %s AND w.at = %s THEN '' ELSE format(' (snapshot of %%s at %%s)', w.source, w.at) END AS problem, ",
						 meter, meter, meter, meter, meter, meter, target->source, target->at);
		appendStringInfoString(&said, CORRECTION);
		appendStringInfoString(&said, " AS correction");
	}
	if (target != NULL && !of_shard)
		appendStringInfo(sql, " UNION ALL (SELECT w.resource, %s, coalesce(w.effect_from, w.at), 0, 0, 0, 0, 0 FROM needed w "
						 "ORDER BY w.at, w.resource COLLATE \"C\")", said.data);
	if (!of_shard)
		return;
	appendStringInfo(sql, " UNION ALL SELECT c.resource, NULL, NULL, NULL, 0, 0, 0, 0, 0, c.at, "
					 "jsonb_strip_nulls(jsonb_build_object('problem', c.problem, 'correction', c.correction, 'time', c.\"time\")) || "
					 "CASE WHEN c.to_log IS NULL THEN '{}' ELSE jsonb_build_object('event', c.to_log) END "
					 "FROM (SELECT w.resource, w.at, coalesce(w.effect_from, w.at) AS \"time\", %s, %s AS to_log FROM needed w%s) c",
					 target != NULL ? said.data : "NULL::text AS problem, NULL::text AS correction",
					 dry_run ? "NULL::jsonb" : "to_jsonb(f)",
					 dry_run ? "" : " LEFT JOIN fresh f ON f.resource = w.resource AND f.source = w.source AND f.id = w.id AND f.\"time\" = w.at");
}

/*
 * Compare resources with snapshots from an instant on, and log what they find,
 * unless it is a dry run.  `carried` says that everything compared is at or
 * after the watermark.  What is found is added to *found, and the corrections
 * are returned as rows of a function, if any.  Those that have to be compared
 * with all snapshots go into a list, if there is one, and are left alone.
 */
static void
compare_resources(FunctionCallInfo fcinfo, const MeterDefinition *definition,
				  const MeterProgress *progress, const MeterResources *resources,
				  const char *from, bool carried, const Target *target, bool few,
				  int64 sealed, bool dry_run, int64 *found, MeterResources *deep)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	bool		of_shard = meter_current_shard() != NULL;
	const char *of_target = target == NULL ? "false" :
	psprintf("source = %s AND at = %s", target->source, target->at);
	Oid			type = TEXTARRAYOID;
	Datum		names = meter_resources_names(resources);
	MeterRows	said;
	Findings	findings;
	StringInfoData sql;
	bool		isnull;
	int			i;

	find_said(definition, from, target, few, names, &said);
	begin_spoken(&findings.spoken);
	findings.deep = deep;
	fold_said(definition, progress, resources, carried, sealed, dry_run,
			  &findings);
	meter_register_rows(&findings.spoken);

	/* make the id of an observation from what it is about */
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH needed AS MATERIALIZED (SELECT f.resource, f.source, f.at, f.effect, greatest(f.effect_from, b.alive) AS effect_from, "
					 "f.effect_to, greatest(f.alive, b.alive) AS alive, f.other, k.kind, s.account, "
					 "CASE WHEN s.present THEN coalesce(" METER_ENTITY_OF("s") ", %s) ELSE %s END AS entity, "
					 "s.offering, s.value, s.since, s.too_early, s.attributes, s.tolerance, "
					 "format('reconciled:%%s:%%s:%%s', k.kind, to_char(f.at, 'YYYY-MM-DD\"T\"HH24:MI:SS.USTZH'), %s) AS id "
					 "FROM spoken f JOIN said s ON s.resource = f.resource AND s.source = f.source AND s.at = f.at "
					 "CROSS JOIN LATERAL (SELECT CASE WHEN NOT s.present THEN 'stop' WHEN f.effect = 'changes' THEN 'change' "
					 "ELSE 'start' END AS kind) k "

	/*
	 * the last snapshot that held it may be long ago, and any source's: the
	 * latest first
	 */
					 "LEFT JOIN LATERAL (SELECT p.at AS alive FROM (SELECT p.source, p.at FROM %s.snapshot p "
					 "WHERE f.effect IN ('cuts', 'ends') AND p.at < CASE f.effect WHEN 'cuts' THEN s.since ELSE f.at END "
					 "AND NOT p.pruned ORDER BY p.at DESC OFFSET 0) p "
					 "WHERE EXISTS (SELECT FROM %s.inventory e WHERE e.source = p.source AND e.at = p.at "
					 "AND e.resource = f.resource COLLATE \"C\" AND ",
					 definition->entity ? quote_literal_cstr(definition->entity) : "NULL",
					 definition->entity ? quote_literal_cstr(definition->entity) : "NULL",
					 meter, schema, schema);
	append_concerned(&sql, definition);
	/* look rows up one by one */
	/* what was known before the watermark may have been logged then */
	appendStringInfo(&sql, " OFFSET 0) ORDER BY p.at DESC LIMIT 1) b ON true "
					 "WHERE f.effect <> 'agrees' AND NOT (f.effect = 'evidence' AND EXISTS (SELECT FROM %s.event l "
					 "WHERE l.resource = f.resource COLLATE \"C\" AND l.\"time\" = f.at AND l.source = f.source COLLATE \"C\" "
					 "AND l.action LIKE 'reconciled:%%' AND l.attributes ->> 'meter' = %s)))", schema, meter);
	if (!dry_run)
		append_log(&sql, definition);
	appendStringInfo(&sql,
					 " SELECT NULL::text AS resource, NULL::text AS problem, NULL::text AS correction, "
					 "NULL::timestamptz AS \"time\", %s + (SELECT count(*) FROM spoken WHERE was_active AND %s), "
					 "(SELECT count(*) FROM needed WHERE kind = 'start' AND effect <> 'evidence' AND %s), "
					 "(SELECT count(*) FROM needed WHERE kind = 'stop' AND effect = 'ends' AND %s), "
					 "(SELECT count(*) FROM needed WHERE kind = 'change' AND %s), %s",
					 !carried || target == NULL ? "0" :
					 psprintf("(SELECT count(*) FROM %s._resource_state r WHERE r.meter = %s AND r.since IS NOT NULL "
							  "AND r.source = %s AND NOT EXISTS (SELECT FROM unnest($1) t (resource) WHERE t.resource COLLATE \"C\" = r.resource)%s)",
							  schema, meter, target->source,
							  target->unread == NULL ? "" :
							  psprintf(" AND r.resource NOT IN (%s)", target->unread)),
					 of_target, of_target, of_target, of_target,
					 psprintf("(SELECT count(*) FROM %s)%s",
							  dry_run ? "needed" : of_shard ? "fresh" : "logged",
							  of_shard ? ", NULL::timestamptz, NULL::jsonb" : ""));
	append_corrections(&sql, definition, target, dry_run);
	meter_execute_params(sql.data, SPI_OK_SELECT, 1, &type, &names, NULL);
	for (i = 0; i < METER_NFOUND; i++)
		found[i] += DatumGetInt64(meter_result(0, COMPARED_NUMBERS + i, &isnull));
	if (of_shard)
		tell_findings((target == NULL ? 0 : target->pass) + (deep == NULL ? 1 : 0));
	else if (fcinfo != NULL)
		return_corrections(fcinfo);
	meter_forget_rows(&said);
	meter_forget_rows(&findings.spoken);
}

/* The rows of so many are counted; of more, each has to have any. */
#define MAX_COUNTED		1000000

/* Raise that rows of a snapshot are missing. */
static void
raise_incomplete(const char *schema, const char *source, const char *at)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of the snapshot of \"%s\" at %s are missing in %s.inventory",
					source, at, schema),
			 errhint("Load the snapshot again as it was. A subscriber needs the tables snapshot and inventory, too.")));
}

/*
 * Check that each snapshot of a query (source, at) has a row, where the
 * inventory is distributed.
 */
static void
check_each(const char *schema, const char *snapshots)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *queries = NIL;
	ListCell   *cell;
	uint64		i;

	meter_execute(psprintf("SELECT format('SELECT 1 FROM %%I.inventory WHERE source = %%L AND at = %%L LIMIT 1', %s, c.source, c.at), c.source, c.at FROM (%s) c",
						   quote_literal_cstr(schema), snapshots), SPI_OK_SELECT);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);

		queries = lappend(queries, list_make3(meter_result_text(i, 1),
											  meter_result_text(i, 2),
											  meter_result_text(i, 3)));
		MemoryContextSwitchTo(before);
	}
	foreach(cell, queries)
	{
		List	   *query = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		meter_execute(linitial(query), SPI_OK_SELECT);
		if (SPI_processed == 0)
			raise_incomplete(quote_identifier(schema), lsecond(query),
							 lthird(query));
	}
}

/*
 * Check that the rows of the snapshots to compare with are there: without them,
 * all that they held would seem to have stopped.
 */
static void
check_complete(const MeterDefinition *definition, const char *from,
			   const Target *target)
{
	const char *schema = quote_identifier(definition->stream);
	const char *rows = psprintf("FROM %s.inventory i WHERE i.source = c.source AND i.at = c.at", schema);
	StringInfoData sql;
	bool		isnull;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH checked AS MATERIALIZED (");
	append_checked(&sql, definition, from, target);
	appendStringInfo(&sql, "), c AS MATERIALIZED (SELECT n.source, n.at, n.rows, sum(n.rows) OVER () AS rows_of_all "
					 "FROM checked k JOIN %s.snapshot n ON n.source = k.source AND n.at = k.at WHERE NOT n.pruned) ",
					 schema);
	if (definition->shards > 0)
	{
		/* what nodes have of a snapshot is counted there, all at once */
		meter_execute(psprintf("%sSELECT coalesce(max(rows_of_all), 0) > %d FROM c", sql.data, MAX_COUNTED),
					  SPI_OK_SELECT);
		if (DatumGetBool(meter_result(0, 1, &isnull)))
		{
			check_each(definition->stream,
					   psprintf("%sSELECT source, at FROM c WHERE rows > 0", sql.data));
			return;
		}
		appendStringInfo(&sql, "SELECT c.source, c.at FROM c LEFT JOIN (SELECT i.source, i.at, count(*) AS found FROM %s.inventory i "
						 "WHERE (i.source, i.at) IN (SELECT k.source, k.at FROM c k) GROUP BY 1, 2) i "
						 "ON i.source = c.source AND i.at = c.at WHERE coalesce(i.found, 0) < c.rows LIMIT 1", schema);
	}
	else
		appendStringInfo(&sql, "SELECT c.source, c.at FROM c WHERE CASE WHEN c.rows_of_all <= %d THEN (SELECT count(*) %s) < c.rows "
						 "ELSE c.rows > 0 AND NOT EXISTS (SELECT %s) END LIMIT 1",
						 MAX_COUNTED, rows, rows);
	meter_execute(sql.data, SPI_OK_SELECT);
	if (SPI_processed > 0)
		raise_incomplete(schema, meter_result_text(0, 1), meter_result_text(0, 2));
}

/*
 * See that the snapshots to compare with are complete.  A shard has a part of
 * each, so it tells from when on it compares.
 */
static void
require_complete(const MeterDefinition *definition, const char *from,
				 const Target *target)
{
	TimestampTz instant;

	if (meter_current_shard() == NULL)
	{
		check_complete(definition, from, target);
		return;
	}
	meter_execute_row(psprintf("SELECT %s", from));
	if (meter_result_instant(1, &instant))
		meter_tell_least(instant);
}

/*
 * Compare the resources of a query with snapshots from an instant on.  Those
 * that snapshots of several sources have held are compared with all snapshots:
 * which source's was the last to hold them may be long ago.
 */
static void
compare(FunctionCallInfo fcinfo, const MeterDefinition *definition,
		const MeterProgress *progress, const char *affected, const char *from,
		bool carried, const Target *target, bool few, int64 sealed, bool dry_run,
		int64 *found)
{
	MeterResources *resources;
	MeterResources *deep = meter_resources_begin();
	int64		snapshots;

	require_complete(definition, from, target);
	resources = meter_resources_from_query(psprintf("SELECT t.resource, NULL::timestamptz FROM (%s) t ORDER BY 1",
													affected));
	compare_resources(fcinfo, definition, progress, resources, from, carried,
					  target, few, sealed, dry_run, found, deep);
	if (deep->count == 0)
		return;
	require_complete(definition, "'-infinity'::timestamptz", NULL);
	meter_execute_row(psprintf("SELECT count(*) FROM %s.snapshot",
							   quote_identifier(definition->stream)));
	snapshots = meter_result_count(1);
	compare_resources(fcinfo, definition, progress, deep, "'-infinity'::timestamptz",
					  false, target, deep->count * (snapshots + 1) <= FEW_LOOKUPS,
					  meter_sealed_for(definition, METER_LOG_EVENT, deep->count),
					  dry_run, found, NULL);
}

/* Tell whether there are snapshots at all; most streams have none. */
bool
meter_any_snapshot(const MeterDefinition *definition)
{
	/* a snapshot says what runs, which no measure does */
	if (meter_usage_of(definition)->log != METER_LOG_EVENT)
		return false;
	meter_execute(psprintf("SELECT FROM %s.snapshot WHERE NOT pruned LIMIT 1",
						   quote_identifier(definition->stream)),
				  SPI_OK_SELECT);
	return SPI_processed > 0;
}

/*
 * Take what shards have found: return what was corrected, if somebody asked, and
 * with `log` log what is to be logged.
 */
static void
take_findings(FunctionCallInfo fcinfo, const MeterDefinition *definition,
			  MeterFindings *findings, const Target *target, bool log)
{
	TimestampTz from = meter_findings_least(findings);

	if (from != DT_NOEND)
		check_complete(definition, meter_timestamp_literal(from), target);
	if (fcinfo != NULL)
		meter_findings_return(findings, fcinfo);
	if (log)
		meter_findings_log(findings, definition->stream);
	meter_findings_end(findings);
}

/* Compare resources again on each shard. */
static bool
compare_on_shards(const MeterDefinition *definition,
				  const MeterProgress *progress, const char *affected,
				  const char *from)
{
	MeterFindings *findings;
	MeterProgress copy = *progress;
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	meter_execute_row(psprintf("SELECT %s", from));
	if (!meter_result_instant(1, &asks[METER_ASK_FROM]))
		return false;
	findings = meter_findings_begin();
	meter_scatter_taking(definition, &copy, METER_SHARD_COMPARE, affected,
						 asks, tells, meter_findings_take, findings);
	take_findings(NULL, definition, findings, NULL, true);
	return tells[METER_TELL_COMPARED + METER_FOUND_OBSERVATIONS] > 0;
}

/*
 * Compare resources again, from an instant on: `affected` is a query of them.
 * On a shard, what was found is added to `found`, where the others leave it to
 * be logged.  Within a session of the owner's.
 */
void
meter_compare_into(const MeterDefinition *definition,
				   const MeterProgress *progress, const char *affected,
				   const char *from, int64 *found)
{
	bool		isnull;
	int64		count;
	int64		lookups;

	if (!meter_any_snapshot(definition))
		return;
	meter_execute(psprintf("SELECT (SELECT count(*) FROM (%s) t), "
						   "(SELECT count(*) + 2 FROM %s.snapshot WHERE at >= %s)",
						   affected, quote_identifier(definition->stream), from),
				  SPI_OK_SELECT);
	count = DatumGetInt64(meter_result(0, 1, &isnull));
	if (count == 0)
		return;
	lookups = count * DatumGetInt64(meter_result(0, 2, &isnull));
	compare(NULL, definition, progress, affected, from, false, NULL, lookups <= FEW_LOOKUPS,
			meter_sealed_for(definition, METER_LOG_EVENT, count), false, found);
}

/*
 * Compare resources again, from an instant on: `affected` is a query of them.
 * Returns true if there were observations to log.  Within a session of the
 * owner's.
 */
bool
meter_compare_affected(const MeterDefinition *definition, const MeterProgress *progress, const char *affected,
					   const char *from)
{
	int64		found[METER_NFOUND] = {0};

	if (definition->shards > 0)
		return meter_any_snapshot(definition) &&
			compare_on_shards(definition, progress, affected, from);
	meter_compare_into(definition, progress, affected, from, found);
	return found[METER_FOUND_OBSERVATIONS] > 0;
}

/*
 * Compare the resources again of which rows arrived between two positions,
 * with the snapshots from the time of these rows on.
 */
bool
meter_compare_arrived(const MeterDefinition *definition, const MeterProgress *progress, int64 after,
					  int64 upto)
{
	StringInfoData arrived;
	TimestampTz last;
	char	   *from;
	bool		isnull;

	if (upto <= after || !meter_any_snapshot(definition))
		return false;
	meter_execute_row(psprintf("SELECT max(at) FROM %s.snapshot",
							   quote_identifier(definition->stream)));
	if (!meter_result_instant(1, &last))
		return false;
	initStringInfo(&arrived);
	appendStringInfo(&arrived, "%s.event e WHERE e.arrival > " INT64_FORMAT
					 " AND e.arrival <= " INT64_FORMAT
					 " AND e.action NOT LIKE 'reconciled:%%' AND %s <= %s "
					 "AND (e.id IS NOT NULL OR ",
					 quote_identifier(definition->stream), after, upto,
					 meter_least_time("e", definition->deduplication_window),
					 meter_timestamp_literal(last));
	meter_append_bearing_filter(&arrived, definition);
	appendStringInfoString(&arrived, ")");
	meter_execute(psprintf("SELECT min(%s) FROM %s",
						   meter_least_time("e", definition->deduplication_window),
						   arrived.data), SPI_OK_SELECT);
	(void) meter_result(0, 1, &isnull);
	if (isnull)
		return false;
	from = psprintf("%s::timestamptz",
					quote_literal_cstr(meter_result_text(0, 1)));
	return meter_compare_affected(definition, progress,
								  psprintf("SELECT DISTINCT e.resource FROM %s",
										   arrived.data), from);
}

/*
 * Compare a meter with the snapshots that were reconciled before there was
 * such a meter.
 */
bool
meter_compare_new(const MeterDefinition *definition, const MeterProgress *progress)
{
	const char *schema = quote_identifier(definition->stream);
	const char *meter = quote_literal_cstr(definition->name);
	StringInfoData affected;
	char	   *missing;
	char	   *from;
	bool		observations;
	bool		isnull;

	if (!meter_any_snapshot(definition))
		return false;
	missing = psprintf("%s.snapshot n WHERE NOT n.pruned AND NOT EXISTS (SELECT 1 FROM %s._compared c "
					   "WHERE c.meter = %s AND c.source = n.source AND c.at = n.at)",
					   schema, schema, meter);
	meter_execute(psprintf("SELECT min(n.at) FROM %s", missing), SPI_OK_SELECT);
	(void) meter_result(0, 1, &isnull);
	if (isnull)
		return false;
	from = psprintf("%s::timestamptz",
					quote_literal_cstr(meter_result_text(0, 1)));
	initStringInfo(&affected);
	appendStringInfo(&affected, "SELECT e.resource FROM %s.inventory e WHERE e.at >= %s AND ",
					 schema, from);
	append_concerned(&affected, definition);
	appendStringInfo(&affected, " UNION SELECT e.resource FROM %s.event e WHERE ",
					 schema);
	meter_append_bearing_filter(&affected, definition);
	observations = meter_compare_affected(definition, progress, affected.data, from);
	meter_execute(psprintf("INSERT INTO %s._compared (meter, source, at) SELECT %s, n.source, n.at FROM %s",
						   schema, meter, missing), SPI_OK_INSERT);
	return observations;
}

/* Raise that a row of the snapshot is wrong, if the query returns one. */
static void
refuse_row(const char *query, const char *source, TimestampTz at,
		   const char *problem, const char *hint)
{
	meter_execute(query, SPI_OK_SELECT);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("snapshot of \"%s\" at %s: %s", source,
						timestamptz_to_str(at),
						psprintf(problem, meter_result_text(0, 1),
								 meter_result_text(0, 2))),
				 errhint("%s", hint)));
}

/* Check that the rows of a snapshot are right by themselves. */
static void
check_rows(const char *stream, List *definitions, const char *source,
		   const Target *target)
{
	const char *schema = quote_identifier(stream);
	StringInfoData meters;
	ListCell   *cell;
	bool		isnull;

	initStringInfo(&meters);
	foreach(cell, definitions)
		appendStringInfo(&meters, ", %s",
						 quote_literal_cstr(((MeterDefinition *) lfirst(cell))->name));
	refuse_row(psprintf("SELECT e.resource, e.meter FROM %s.inventory e WHERE e.source = %s AND e.at = %s "
						"AND e.meter IS NOT NULL AND e.meter NOT IN (''%s) LIMIT 1",
						schema, target->source, target->at, meters.data),
			   source, target->instant,
			   "resource \"%s\" runs for meter \"%s\", which is no duration or weighted meter of the stream",
			   "Leave the meter out for all meters over the resource's entity, or name one of them.");
	refuse_row(psprintf("SELECT e.resource, e.since FROM %s.inventory e WHERE e.source = %s AND e.at = %s "
						"AND e.since > e.at LIMIT 1",
						schema, target->source, target->at),
			   source, target->instant,
			   "resource \"%s\" runs since %s, which is later",
			   "Take the snapshot's time before its first row is read.");
	/* names that have distinct hashes are distinct; numbers sort faster */
	if (meter_stream_shards(stream) == 0)
		meter_execute(psprintf("SELECT count(*) = count(DISTINCT hashtextextended(e.resource, "
							   "hashtextextended(coalesce('=' || e.meter, ''), 0))) FROM %s.inventory e "
							   "WHERE e.source = %s AND e.at = %s",
							   schema, target->source, target->at), SPI_OK_SELECT);
	/* nodes look at the names themselves, each at its own */
	if (meter_stream_shards(stream) > 0 ||
		!DatumGetBool(meter_result(0, 1, &isnull)))
		refuse_row(psprintf("SELECT e.resource, e.meter FROM %s.inventory e WHERE e.source = %s AND e.at = %s "
							"GROUP BY e.resource, e.meter HAVING count(*) > 1 LIMIT 1",
							schema, target->source, target->at),
				   source, target->instant,
				   "resource \"%s\" is in the snapshot twice",
				   "A snapshot has one row for each resource, or one for each resource and meter.");
}

/* Count the rows of a snapshot, and hash them in any order. */
static void
hash_rows(const char *stream, const Target *target, bool distinct,
		  int64 *count, char **content)
{
	bool		isnull;

	meter_execute(psprintf("SELECT count(*), coalesce(sum(h), 0) FROM (SELECT %s"
						   "hashtextextended(meter_internal.row_text(ROW(e.resource, e.account, " METER_ENTITY_OF("e") ", e.offering, "
						   "trim_scale(e.value), e.since, e.meter, e.attributes)) COLLATE \"C\", 0)::numeric AS h "
						   "FROM %s.inventory e WHERE e.source = %s AND e.at = %s) x",
						   distinct ? "DISTINCT " : "",
						   quote_identifier(stream), target->source,
						   target->at), SPI_OK_SELECT);
	*count = DatumGetInt64(meter_result(0, 1, &isnull));
	*content = meter_result_text(0, 2);
}

/*
 * Check whether the snapshot was reconciled before; it must then be the same
 * one.  Returns false if there is nothing to do.
 */
static bool
check_new(const char *stream, const char *source, const Target *target,
		  int64 *rows, char **content)
{
	int64		known_rows;
	char	   *known_content;
	bool		isnull;

	hash_rows(stream, target, false, rows, content);
	meter_execute(psprintf("SELECT rows, content, pruned FROM %s.snapshot WHERE source = %s AND at = %s",
						   quote_identifier(stream), target->source,
						   target->at), SPI_OK_SELECT);
	if (SPI_processed == 0)
		return true;
	known_rows = DatumGetInt64(meter_result(0, 1, &isnull));
	known_content = meter_result_text(0, 2);
	if (DatumGetBool(meter_result(0, 3, &isnull)) && *rows == 0)
		return false;
	if (*rows != known_rows || strcmp(*content, known_content) != 0)
		/* the same rows may have been loaded once more */
		hash_rows(stream, target, true, rows, content);
	if (*rows != known_rows || strcmp(*content, known_content) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("snapshot of \"%s\" at %s was reconciled with other rows",
						source, timestamptz_to_str(target->instant)),
				 errdetail("The snapshot had " INT64_FORMAT " rows then, and has " INT64_FORMAT " different ones now.",
						   known_rows, *rows),
				 errhint("Delete the rows from %s.inventory that were loaded since, and load what is true now as a snapshot of its own time.",
						 quote_identifier(stream))));
	return false;
}

/* Refuse to end more runs than a complete snapshot would. */
static void
check_stops(const MeterDefinition *definition, const char *source,
			const Target *target, const int64 *found, int64 rows,
			bool allow_empty, bool has_max, int32 max_stops)
{
	if (rows == 0 && found[METER_FOUND_RUNNING] > 0 && !allow_empty)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("snapshot of \"%s\" at %s has no rows, and " INT64_FORMAT " resources run for meter \"%s\"",
						source, timestamptz_to_str(target->instant),
						found[METER_FOUND_RUNNING], definition->name),
				 errhint("Load the snapshot into %s.inventory before it is reconciled. If nothing runs indeed, use allow_empty => true.",
						 quote_identifier(definition->stream))));
	if (has_max ? found[METER_FOUND_STOPS] > max_stops :
		!(rows == 0 && allow_empty) && found[METER_FOUND_STOPS] > FEW_STOPS &&
		found[METER_FOUND_STOPS] * 100 > found[METER_FOUND_RUNNING] * MAX_STOPS_PERCENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("snapshot of \"%s\" at %s would stop " INT64_FORMAT " of " INT64_FORMAT " resources that run for meter \"%s\"",
						source, timestamptz_to_str(target->instant),
						found[METER_FOUND_STOPS], found[METER_FOUND_RUNNING], definition->name),
				 errhint("Is the snapshot complete? dry_run => true shows what it would correct; max_stops => " INT64_FORMAT " allows that.",
						 found[METER_FOUND_STOPS])));
}

/*
 * Return the last arrival that was drawn of the log of events; on a shard, which
 * logs nothing, -1.
 */
static int64
last_drawn(const MeterDefinition *definition)
{
	if (meter_current_shard() != NULL)
		return -1;
	meter_execute_row(psprintf("SELECT last_value FROM %s.event_arrival_seq",
							   quote_identifier(definition->stream)));
	return meter_result_count(1);
}

/* Compare a meter with the snapshot that is being reconciled. */
static void
compare_target(FunctionCallInfo fcinfo, const MeterDefinition *definition, const MeterProgress *progress,
			   Target *target, bool dry_run, int64 *found)
{
	StringInfoData affected;
	char	   *unread;
	bool		isnull;

	initStringInfo(&affected);
	target->unread = NULL;
	target->pass = 0;
	if (!progress->has_watermark || target->instant < progress->watermark)
	{
		append_all_suspects(&affected, definition, target);
		compare(fcinfo, definition, progress, affected.data, target->at, false, target, false, 0,
				dry_run, found);
		return;
	}

	/*
	 * the states do not yet know of late rows that no step has read; what
	 * this comparison logs itself is none of them
	 */
	unread = psprintf("SELECT DISTINCT e.resource FROM %s AND (e.action = 'void' OR e.\"time\" < %s)",
					  meter_late_rows(definition, progress, last_drawn(definition)),
					  meter_timestamp_literal(progress->watermark));
	meter_execute(psprintf("SELECT count(*) FROM (%s) l", unread),
				  SPI_OK_SELECT);
	if (DatumGetInt64(meter_result(0, 1, &isnull)) > 0)
		target->unread = unread;
	append_suspects(&affected, definition, progress, target);
	/* after a while, few of many resources are suspects */
	compare(fcinfo, definition, progress,
			target->unread == NULL ? affected.data :
			psprintf("SELECT s.resource FROM (%s) s WHERE s.resource NOT IN (%s)",
					 affected.data, unread),
			target->at, true, target, true, 0, dry_run, found);
	if (target->unread != NULL)
	{
		target->pass = 2;
		compare(fcinfo, definition, progress, unread, target->at, false, target, true, 0,
				dry_run, found);
	}
}

/* Set what a target says in queries. */
static void
set_target(Target *target, const char *source, TimestampTz at,
		   int64 tolerance)
{
	memset(target, 0, sizeof(*target));
	target->instant = at;
	target->source = quote_literal_cstr(source);
	target->at = meter_timestamp_literal(at);
	target->tolerance = psprintf("'" INT64_FORMAT " microseconds'::interval",
								 tolerance);
}

/* Compare a meter on a shard with the snapshot that is being reconciled. */
void
meter_compare_snapshot(const MeterDefinition *definition,
					   const MeterProgress *progress, const char *source,
					   const int64 *asks, int64 *found)
{
	Target		target;

	set_target(&target, source, asks[METER_ASK_TO], asks[METER_ASK_FROM]);
	compare_target(NULL, definition, progress, &target,
				   asks[METER_ASK_WHOLE] != 0, found);
}

/* Do so on each shard. */
static void
compare_target_on_shards(FunctionCallInfo fcinfo,
						 const MeterDefinition *definition,
						 MeterProgress *progress, const char *source,
						 const Target *target, int64 tolerance, bool dry_run,
						 int64 *found)
{
	MeterFindings *findings = meter_findings_begin();
	int64		asks[METER_NASKS] = {0};
	int64		tells[METER_NTELLS];

	asks[METER_ASK_FROM] = tolerance;
	asks[METER_ASK_TO] = target->instant;
	asks[METER_ASK_WHOLE] = dry_run;
	meter_scatter_taking(definition, progress, METER_SHARD_RECONCILE, source,
						 asks, tells, meter_findings_take, findings);
	memcpy(found, &tells[METER_TELL_COMPARED], METER_NFOUND * sizeof(int64));
	take_findings(fcinfo, definition, findings, target, !dry_run);
}

PG_FUNCTION_INFO_V1(meter_reconcile);

/* reconcile(stream, source, at, allow_empty, max_stops, tolerance, dry_run) */
Datum
meter_reconcile(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *source = meter_text_arg(fcinfo, 1, "source");
	bool		allow_empty = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	bool		dry_run = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);
	const char *schema = quote_identifier(stream);
	Target		target;
	int64		tolerance = METER_MINUTE;
	int64		rows;
	char	   *content;
	int64		all[METER_NFOUND] = {0};
	List	   *definitions;
	List	   *of_measures;
	ListCell   *cell;
	MeterSession session;

	PreventCommandIfReadOnly("meter.reconcile()");
	meter_check_source_name(source);
	if (PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		ereport(ERROR,
				(errcode(PG_ARGISNULL(2) ? ERRCODE_NULL_VALUE_NOT_ALLOWED :
						 ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"at\" must be finite")));
	target.instant = PG_GETARG_TIMESTAMPTZ(2);
	if (!PG_ARGISNULL(4) && PG_GETARG_INT32(4) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max_stops\" must not be negative")));
	if (!PG_ARGISNULL(5))
		tolerance = meter_interval_usec(PG_GETARG_INTERVAL_P(5), "tolerance");
	if (tolerance < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"tolerance\" must not be negative")));
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	if (!meter_stream_is_active(stream))
		meter_not_active(stream);
	if (target.instant > meter_now())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("snapshot of \"%s\" at %s is from the future",
						source, timestamptz_to_str(target.instant)),
				 errhint("The time of a snapshot is when the snapshot was taken. Is the clock of the source right?")));
	meter_return_begin(fcinfo);
	meter_load_all(stream, &definitions, &of_measures);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	meter_session_bulk();
	set_target(&target, source, target.instant, tolerance);
	if (!check_new(stream, source, &target, &rows, &content))
	{
		meter_session_end(&session);
		return (Datum) 0;
	}
	check_rows(stream, definitions, source, &target);

	foreach(cell, definitions)
	{
		MeterDefinition *definition = lfirst(cell);
		int64		found[METER_NFOUND] = {0};
		int			i;

		if (definition->shards > 0)
			compare_target_on_shards(fcinfo, definition, meter_load_progress(definition),
									 source, &target, tolerance, dry_run, found);
		else
			compare_target(fcinfo, definition, meter_load_progress(definition), &target, dry_run, found);
		if (!dry_run)
		{
			check_stops(definition, source, &target, found, rows,
						allow_empty, !PG_ARGISNULL(4),
						PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4));
			meter_execute(psprintf("INSERT INTO %s._compared (meter, source, at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
								   schema, quote_literal_cstr(definition->name),
								   target.source, target.at), SPI_OK_INSERT);
		}
		for (i = 0; i < METER_NFOUND; i++)
			all[i] += found[i];
	}
	if (!dry_run)
		meter_execute(psprintf("INSERT INTO %s.snapshot (source, at, rows, content, tolerance, running, starts, stops, changes) "
							   "VALUES (%s, %s, " INT64_FORMAT ", %s, %s, " INT64_FORMAT ", "
							   INT64_FORMAT ", " INT64_FORMAT ", " INT64_FORMAT ")",
							   schema, target.source, target.at, rows, content,
							   target.tolerance, all[METER_FOUND_RUNNING], all[METER_FOUND_STARTS], all[METER_FOUND_STOPS], all[METER_FOUND_CHANGES]), SPI_OK_INSERT);
	meter_session_end(&session);

	if (!dry_run)
	{
		meter_source_seen(stream, source, target.instant);
		meter_worker_wake();
	}
	return (Datum) 0;
}

/*
 * Return the snapshots (source, at) of the last result as a list of values;
 * NULL: there are none.
 */
static char *
list_snapshots(void)
{
	StringInfoData list;
	uint64		i;

	initStringInfo(&list);
	for (i = 0; i < SPI_processed; i++)
		appendStringInfo(&list, "%s(%s::text, %s::timestamptz)",
						 i > 0 ? ", " : "",
						 quote_literal_cstr(meter_result_text(i, 1)),
						 quote_literal_cstr(meter_result_text(i, 2)));
	return list.len == 0 ? NULL : list.data;
}

PG_FUNCTION_INFO_V1(meter_prune_inventory);

/* prune_inventory(stream, before) */
Datum
meter_prune_inventory(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	const char *schema = quote_identifier(stream);
	List	   *definitions;
	List	   *of_measures;
	ListCell   *cell;
	MeterSession session;
	TimestampTz before;
	char	   *old;
	int64		pruned = 0;

	PreventCommandIfReadOnly("meter.prune_inventory()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"before\" must not be null")));
	before = PG_GETARG_TIMESTAMPTZ(1);
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	meter_load_all(stream, &definitions, &of_measures);
	/* whatever is computed anew from the boundary on may need the others */
	foreach(cell, definitions)
		before = Min(before, ((MeterDefinition *) lfirst(cell))->boundary);

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_check_stream(stream);
	/* the last snapshot of each source stays: it says what was known then */
	meter_execute(psprintf("UPDATE %s.snapshot n SET pruned = true "
						   "WHERE NOT n.pruned AND n.at < %s AND n.at < "
						   "(SELECT max(l.at) FROM %s.snapshot l WHERE l.source = n.source AND l.at < %s) "
						   "RETURNING n.source, n.at",
						   schema, meter_timestamp_literal(before), schema,
						   meter_timestamp_literal(before)),
				  SPI_OK_UPDATE_RETURNING);
	old = list_snapshots();
	if (old != NULL)
	{
		meter_execute(psprintf("DELETE FROM %s.inventory WHERE (source, at) IN (VALUES %s)",
							   schema, old), SPI_OK_DELETE);
		pruned = SPI_processed;
	}
	meter_session_end(&session);
	PG_RETURN_INT64(pruned);
}
