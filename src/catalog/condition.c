/*
 * condition.c
 *	  The condition of a stream's tables: what bills depend on although no query
 *	  fails without it.
 *
 * A table that is unlogged is empty after a crash; without its guard, a log or
 * a ledger can be changed; without its key, rows may be doubled.  Each step
 * looks, and so do meter.resume() and meter.status.  Catalogs alone are read, so
 * no lock on a table is waited for.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog/condition.h"
#include "catalog/shape.h"
#include "catalog/stream.h"
#include "pg/cluster.h"
#include "pg/spi.h"

/* Append a row to VALUES. */
static void
append_row(StringInfo values, const char *table, const char *name,
		   const char *definition)
{
	appendStringInfo(values, "%s(%s,%s,%s)", values->len > 0 ? "," : "",
					 quote_literal_cstr(table), quote_literal_cstr(name),
					 quote_literal_cstr(definition));
}

/* Return the guards of a stream as VALUES (table, trigger, '-'). */
static char *
guard_values(void)
{
	const MeterGuard *guard;
	StringInfoData values;

	initStringInfo(&values);
	for (guard = meter_guards; guard->table != NULL; guard++)
		append_row(&values, guard->table, guard->name, "-");
	return values.data;
}

/*
 * Return the indexes of a stream as VALUES (table, index, definition), '-' as
 * the index for a primary key.
 */
static char *
index_values(void)
{
	const MeterTableColumn *column;
	const MeterTableConstraint *constraint;
	const MeterTableIndex *index;
	StringInfoData values;

	initStringInfo(&values);
	for (column = meter_table_columns; column->table != NULL; column++)
	{
		if (strstr(column->rest, "PRIMARY KEY") != NULL)
			append_row(&values, column->table, "-",
					   psprintf("PRIMARY KEY (%s)", column->name));
	}
	for (constraint = meter_table_constraints; constraint->table != NULL;
		 constraint++)
	{
		if (strncmp(constraint->definition, "PRIMARY KEY", 11) == 0)
			append_row(&values, constraint->table, "-",
					   constraint->definition);
	}
	for (index = meter_table_indexes; index->table != NULL; index++)
		append_row(&values, index->table, index->name, index->definition);
	return values.data;
}

/* Return the tables of a stream as a list of literals. */
static char *
table_list(void)
{
	const MeterTableColumn *column;
	const char *table = "";
	StringInfoData list;

	initStringInfo(&list);
	for (column = meter_table_columns; column->table != NULL; column++)
	{
		if (strcmp(column->table, table) == 0)
			continue;
		table = column->table;
		appendStringInfo(&list, "%s'%s'", list.len > 0 ? "," : "", table);
	}
	return list.data;
}

/*
 * Return the query that finds what is wrong in the stream $1: what kind of thing
 * it is, its table, its name, and how it was defined.
 */
static char *
problems_query(void)
{
	static const char *const tables =
	"WITH t AS (SELECT c.oid, c.relname, c.relpersistence FROM pg_class c "
	"JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name "
	"WHERE c.relkind IN ('r', 'p') AND c.relname IN (%s)), "
	"s AS (SELECT c.oid, c.relname, c.relpersistence, c.relname ~ ('^' || t.relname || '_[0-9]{1,10}$') AS ours FROM t "
	"JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid "
	"WHERE t.relname IN ('event', 'measure')), "
	"m AS (SELECT c.oid, c.relname, c.relpersistence, t.relname AS tab FROM t "
	"JOIN pg_inherits i ON i.inhparent = t.oid JOIN pg_class c ON c.oid = i.inhrelid "
	"WHERE c.relname ~ ('^_' || t.relname || '_([0-9]{4}_[0-9]{2}|older)$')) ";
	static const char *const unlogged =
	"SELECT 'table', relname, NULL, NULL FROM (TABLE t UNION ALL SELECT oid, relname, relpersistence FROM s "
	"UNION ALL SELECT oid, relname, relpersistence FROM m) u "
	"WHERE relpersistence <> 'p' ";
	static const char *const guards =
	"UNION ALL SELECT 'guard', g.tab, g.trg, NULL FROM ("
	"SELECT p.oid, p.relname AS tab, v.trg FROM (SELECT oid, relname, relname AS tab FROM t UNION ALL SELECT oid, relname, tab FROM m) p "
	"JOIN (VALUES %s) v (tab, trg, no) ON v.tab = p.tab "
	"UNION ALL SELECT oid, relname, 'guard_segment' FROM s WHERE ours) g "
	"WHERE NOT $2 AND NOT EXISTS (SELECT FROM pg_trigger x "
	"WHERE x.tgrelid = g.oid AND x.tgname = g.trg AND x.tgenabled IN ('O', 'A')) ";
	static const char *const indexes =
	"UNION ALL SELECT 'index', v.tab, v.name, v.definition "
	"FROM t JOIN (VALUES %s) v (tab, name, definition) ON v.tab = t.relname "
	"WHERE NOT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid "
	"WHERE x.indrelid = t.oid AND x.indisvalid AND x.indisready "
	"AND CASE WHEN v.name = '-' THEN x.indisprimary ELSE c.relname = v.name END) "
	"ORDER BY 2, 3 NULLS FIRST";
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, tables, table_list());
	appendStringInfoString(&sql, unlogged);
	appendStringInfo(&sql, guards, guard_values());
	appendStringInfo(&sql, indexes, index_values());
	return sql.data;
}

/* Put a problem into words. */
static MeterProblem *
describe(const char *schema, const char *kind, const char *table,
		 const char *name, const char *definition)
{
	MeterProblem *problem = palloc(sizeof(MeterProblem));

	table = psprintf("%s.%s", schema, quote_identifier(table));
	if (strcmp(kind, "table") == 0)
	{
		problem->message = psprintf("table %s is unlogged: a crash empties it",
									table);
		problem->hint = psprintf("ALTER TABLE %s SET LOGGED", table);
	}
	else if (strcmp(kind, "guard") == 0)
	{
		problem->message = psprintf("trigger %s of table %s is missing or disabled",
									name, table);
		problem->hint = psprintf("Restore the trigger from a dump, or ALTER TABLE %s ENABLE TRIGGER %s",
								 table, name);
	}
	else if (strcmp(name, "-") == 0)
	{
		problem->message = psprintf("the primary key of table %s is missing or invalid",
									table);
		problem->hint = psprintf("ALTER TABLE %s ADD %s", table, definition);
	}
	else
	{
		problem->message = psprintf("index %s of table %s is missing or invalid",
									name, table);
		problem->hint = psprintf("REINDEX INDEX %s.%s, or CREATE INDEX %s ON %s USING %s",
								 schema, name, name, table, definition);
	}
	return problem;
}

/* Return that a table of a stream that was distributed is not. */
static List *
one_alone(const char *stream, const char *table)
{
	MeterProblem *problem = palloc(sizeof(MeterProblem));

	problem->message = psprintf("stream \"%s\" was distributed, and table %s.%s is so no more",
								stream, quote_identifier(stream), table);
	problem->hint = psprintf("meter.undistribute_stream(%s) makes it a stream of one node",
							 quote_literal_cstr(stream));
	return list_make1(problem);
}

/*
 * Return what is wrong with where the tables of a stream are: over so many shards
 * the first one is distributed.
 */
static List *
find_misplaced(const char *stream, int shards)
{
	const MeterPlacement *placement;
	List	   *tables;

	if (shards == 0)
		return OidIsValid(get_relname_relid("_shard", get_namespace_oid(stream, true))) ?
			one_alone(stream, meter_placements[0].table) : NIL;
	tables = meter_cluster_tables(stream);
	for (placement = meter_placements + 1; placement->table != NULL; placement++)
	{
		if (!meter_cluster_has(tables, placement->table))
			return one_alone(stream, placement->table);
	}
	return NIL;
}

/* Return what is wrong with a stream, as a list of MeterProblem. */
List *
meter_find_problems(const char *stream)
{
	MemoryContext context = CurrentMemoryContext;
	const char *schema = quote_identifier(stream);
	MeterSession session;
	Oid			types[] = {TEXTOID, BOOLOID};

	/* on a cluster, privileges guard */
	int			shards = meter_stream_shards(stream);
	Datum		values[] = {CStringGetTextDatum(stream), BoolGetDatum(shards > 0)};
	static SPIPlanPtr plan = NULL;
	List	   *problems = find_misplaced(stream, shards);
	uint64		i;

	if (problems != NIL)
		return problems;
	meter_session_begin(&session, meter_extension_owner());
	meter_execute_kept(&plan, problems_query, lengthof(types), types, values);
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext before = MemoryContextSwitchTo(context);

		problems = lappend(problems,
						   describe(schema, meter_result_text(i, 1),
									meter_result_text(i, 2),
									meter_result_text(i, 3),
									meter_result_text(i, 4)));
		MemoryContextSwitchTo(before);
	}
	meter_session_end(&session);
	return problems;
}

/* Raise what is wrong with a stream, if anything is. */
void
meter_check_condition(const char *stream)
{
	List	   *problems = meter_find_problems(stream);
	MeterProblem *problem;

	if (problems == NIL)
		return;
	problem = linitial(problems);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s", problem->message),
			 errdetail("Stream \"%s\" is not as meter made it.", stream),
			 errhint("%s.", problem->hint)));
}
