/*
 * limits.c
 *	  What may enter a stream: the limits of the columns of its logs and its
 *	  inventory.
 *
 * Every text that is a key of the engine's tables must fit into an entry of
 * their indexes, together with the others of the key, and every number and
 * time must leave room for what is computed of it.  Rows that come by columns
 * pass a CHECK constraint, rows that come as values meter_beyond_limit().
 * Both follow from one list, and say the same.
 *
 * The constraint costs each row that is copied, so it compares as little as
 * possible.  What it finds suspicious it gives to a function in the stream's
 * own schema, which outlives the extension as the tables do.  That function
 * raises what is wrong, or lets the row pass.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog/limits.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"

#define NAME_BYTES			1000
#define WORD_BYTES			255
#define ATTRIBUTES_BYTES	65536
#define DIGITS				100 /* before the point, and after it */

/* What an observation says beyond the attributes of the inventory's row. */
#define OBSERVATION_BYTES	1024

#define FIRST_INSTANT		"0001-01-01 00:00:00+00"
#define END_OF_INSTANTS		"10000-01-01 00:00:00+00"

typedef enum Kind
{
	NAME,						/* names a resource, an account or a row */
	NEEDED_NAME,				/* not empty */
	WORD,						/* one of a few */
	NEEDED_WORD,
	INSTANT,
	END_INSTANT,				/* the end of what start_time begins */
	NUMBER,
	ATTRIBUTES
} Kind;

struct MeterLimit
{
	const char *table;
	const char *column;
	const char *type;
	Kind		kind;
};

static const MeterLimit limits[] = {
	{"event", "source", "text", WORD},
	{"event", "id", "text", NAME},
	{"event", "time", "timestamptz", INSTANT},
	{"event", "resource", "text", NEEDED_NAME},
	{"event", "account", "text", NAME},
	{"event", "entity", "text", WORD},
	{"event", "action", "text", NEEDED_WORD},
	{"event", "offering", "text", WORD},
	{"event", "value", "numeric", NUMBER},
	{"event", "attributes", "jsonb", ATTRIBUTES},
	{"measure", "source", "text", WORD},
	{"measure", "id", "text", NAME},
	{"measure", "start_time", "timestamptz", INSTANT},
	{"measure", "end_time", "timestamptz", END_INSTANT},
	{"measure", "resource", "text", NEEDED_NAME},
	{"measure", "account", "text", NAME},
	{"measure", "entity", "text", WORD},
	{"measure", "value", "numeric", NUMBER},
	{"measure", "attributes", "jsonb", ATTRIBUTES},
	{"inventory", "source", "text", WORD},
	{"inventory", "at", "timestamptz", INSTANT},
	{"inventory", "resource", "text", NEEDED_NAME},
	{"inventory", "account", "text", NAME},
	{"inventory", "entity", "text", WORD},
	{"inventory", "offering", "text", WORD},
	{"inventory", "value", "numeric", NUMBER},
	{"inventory", "since", "timestamptz", INSTANT},
	{"inventory", "meter", "text", WORD},
	{"inventory", "attributes", "jsonb", ATTRIBUTES}
};

/* Return how many bytes a text of a kind may have; 0: the kind is no text. */
static int
most_bytes(Kind kind)
{
	switch (kind)
	{
		case NAME:
		case NEEDED_NAME:
			return NAME_BYTES;
		case WORD:
		case NEEDED_WORD:
			return WORD_BYTES;
		default:
			return 0;
	}
}

/* --- rows by columns ---------------------------------------------------- */

/* Tell whether rows of a table can be observations. */
static bool
has_observations(const char *table)
{
	return strcmp(table, "event") == 0;
}

/* Append the condition that the value of a column is suspicious. */
static void
append_suspicious(StringInfo sql, const MeterLimit *limit)
{
	const char *column = quote_identifier(limit->column);
	int			bytes = most_bytes(limit->kind);

	if (bytes > 0)
		appendStringInfo(sql, "octet_length(%s) > %d", column, bytes);
	switch (limit->kind)
	{
		case NAME:
		case WORD:
			break;
		case NEEDED_NAME:
		case NEEDED_WORD:
			appendStringInfo(sql, " OR %s = ''", column);
			break;
		case END_INSTANT:
			appendStringInfo(sql, "%s < start_time OR ", column);
			/* FALLTHROUGH */
		case INSTANT:
			appendStringInfo(sql, "%s < '" FIRST_INSTANT "' OR %s >= '" END_OF_INSTANTS "'",
							 column, column);
			break;
		case NUMBER:
			/* NaN is greater than all numbers */
			appendStringInfo(sql, "%s <= -1e%d OR %s >= 1e%d OR scale(%s) > %d",
							 column, DIGITS, column, DIGITS, column, DIGITS);
			break;
		case ATTRIBUTES:
			/* what is added to decompresses them, and changes nothing */
			appendStringInfo(sql, "(%s IS NOT NULL AND (jsonb_typeof(%s) COLLATE \"C\" <> 'object' "
							 "OR pg_column_size(%s || '{}') > %d%s))",
							 column, column, column, ATTRIBUTES_BYTES,
							 has_observations(limit->table) ?
							 " OR starts_with(action, 'reconciled:')" : "");
			break;
	}
}

/* Return the name of the function of a table that says what is wrong. */
static char *
function_name(const char *table)
{
	return psprintf("guard_%s", table);
}

/*
 * Return the CHECK constraint of a table of a stream; NULL if there are no
 * limits.
 */
char *
meter_limits_check(const char *stream, const char *table)
{
	StringInfoData sql;
	StringInfoData columns;
	const char *separator = "";
	int			i;

	initStringInfo(&columns);
	for (i = 0; i < (int) lengthof(limits); i++)
	{
		if (strcmp(limits[i].table, table) == 0)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
							 quote_identifier(limits[i].column));
	}
	if (columns.len == 0)
		return NULL;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "CONSTRAINT within_limits CHECK (CASE WHEN ");
	for (i = 0; i < (int) lengthof(limits); i++)
	{
		if (strcmp(limits[i].table, table) != 0)
			continue;
		appendStringInfoString(&sql, separator);
		append_suspicious(&sql, &limits[i]);
		separator = " OR ";
	}
	appendStringInfo(&sql, " THEN %s.%s(%s) ELSE true END)",
					 quote_identifier(stream), function_name(table),
					 columns.data);
	return sql.data;
}

/* Append a branch for a column that is wrong: a condition, and what to say. */
static void
append_branch(StringInfo sql, const MeterLimit *limit, const char *condition,
			  const char *problem)
{
	appendStringInfo(sql, "    WHEN %s\n      THEN '\"%s\" ' || %s\n",
					 condition, limit->column, problem);
}

/* Append the branches for a column. */
static void
append_branches(StringInfo sql, const MeterLimit *limit)
{
	const char *column = quote_identifier(limit->column);
	int			bytes = most_bytes(limit->kind);

	if (bytes > 0)
		append_branch(sql, limit, psprintf("octet_length(%s) > %d", column, bytes),
					  psprintf("format('has %%s bytes: at most %d are allowed', octet_length(%s))",
							   bytes, column));
	switch (limit->kind)
	{
		case NAME:
		case WORD:
			break;
		case NEEDED_NAME:
		case NEEDED_WORD:
			append_branch(sql, limit, psprintf("%s = ''", column),
						  "'has 0 bytes: at least 1 is needed'");
			break;
		case INSTANT:
		case END_INSTANT:
			append_branch(sql, limit,
						  psprintf("%s < '" FIRST_INSTANT "' OR %s >= '" END_OF_INSTANTS "'",
								   column, column),
						  psprintf("format('is %%s: years 1 to 9999 are allowed', %s)",
								   column));
			if (limit->kind == END_INSTANT)
				append_branch(sql, limit, psprintf("%s < start_time", column),
							  psprintf("format('is %%s, before \"start_time\", %%s', %s, start_time)",
									   column));
			break;
		case NUMBER:
			append_branch(sql, limit,
						  psprintf("%s IN ('NaN', 'Infinity', '-Infinity')", column),
						  psprintf("format('is %%s: a finite number is needed', %s)", column));
			append_branch(sql, limit, psprintf("abs(%s) >= 1e%d", column, DIGITS),
						  psprintf("format('has %%s digits before the point: at most %d are allowed', "
								   "length(trunc(abs(%s))::text))", DIGITS, column));
			append_branch(sql, limit, psprintf("scale(%s) > %d", column, DIGITS),
						  psprintf("format('has %%s decimals: at most %d are allowed', scale(%s))",
								   DIGITS, column));
			break;
		case ATTRIBUTES:
			append_branch(sql, limit, psprintf("jsonb_typeof(%s) <> 'object'", column),
						  psprintf("format('is of type %%s: an object is needed', jsonb_typeof(%s))",
								   column));
			append_branch(sql, limit,
						  has_observations(limit->table) ?
						  psprintf("pg_column_size(%s || '{}') > CASE WHEN starts_with(action, 'reconciled:') "
								   "THEN %d ELSE %d END", column,
								   ATTRIBUTES_BYTES + OBSERVATION_BYTES, ATTRIBUTES_BYTES) :
						  psprintf("pg_column_size(%s || '{}') > %d", column, ATTRIBUTES_BYTES),
						  psprintf("format('has %%s bytes: at most %d are allowed', pg_column_size(%s || '{}'))",
								   ATTRIBUTES_BYTES, column));
			break;
	}
}

/*
 * Append the branches for what only an observation must have: the engine reads
 * instants, and how far off one may be, from its attributes.
 */
static void
append_observation_branches(StringInfo sql)
{
	static const char *const instants[] = {"since", "alive", "absent"};
	int			i;

	for (i = 0; i < (int) lengthof(instants); i++)
		appendStringInfo(sql,
						 "    WHEN starts_with(action, 'reconciled:') AND attributes ? '%s'\n"
						 "      AND (attributes ->> '%s') IS DISTINCT FROM '-infinity'\n"
						 "      AND (jsonb_typeof(attributes -> '%s') <> 'string' OR attributes ->> '%s' "
						 "!~ '^(?!0000)[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?(Z|[+]00:00)$')\n"
						 "      THEN '\"%s\" in \"attributes\" is no instant of years 1 to 9999 in UTC, such as "
						 "2024-03-05T12:00:00Z: ' || left(attributes ->> '%s', 100)\n",
						 instants[i], instants[i], instants[i], instants[i],
						 instants[i], instants[i]);
	appendStringInfoString(sql,
						   "    WHEN starts_with(action, 'reconciled:') AND attributes ? 'tolerance'\n"
						   "      AND CASE jsonb_typeof(attributes -> 'tolerance') WHEN 'number' THEN "
						   "(attributes -> 'tolerance')::numeric NOT BETWEEN 0 AND 1e12 ELSE true END\n"
						   "      THEN '\"tolerance\" in \"attributes\" is no number of seconds from 0 on: ' "
						   "|| left(attributes ->> 'tolerance', 100)\n"
						   "    WHEN starts_with(action, 'reconciled:') AND attributes ? 'meter'\n"
						   "      AND jsonb_typeof(attributes -> 'meter') <> 'string'\n"
						   "      THEN '\"meter\" in \"attributes\" is no text: ' "
						   "|| left(attributes ->> 'meter', 100)\n");
}

/*
 * Return the statement that makes the function that says what is wrong with a
 * row of a table of a stream; NULL if there are no limits.
 */
static char *
limits_function(const char *stream, const char *table)
{
	StringInfoData sql;
	StringInfoData parameters;
	char	   *body;
	int			i;

	initStringInfo(&parameters);
	initStringInfo(&sql);
	for (i = 0; i < (int) lengthof(limits); i++)
	{
		if (strcmp(limits[i].table, table) != 0)
			continue;
		appendStringInfo(&parameters, "%s%s %s",
						 parameters.len > 0 ? ", " : "",
						 quote_identifier(limits[i].column), limits[i].type);
		append_branches(&sql, &limits[i]);
	}
	if (parameters.len == 0)
		return NULL;
	if (has_observations(table))
		append_observation_branches(&sql);

	/*
	 * the name of a stream can be anything: quoted within, and then as a
	 * whole
	 */
	body = psprintf("DECLARE\n"
					"  problem text := CASE\n%s  END;\n"
					"BEGIN\n"
					"  IF problem IS NULL THEN\n"
					"    RETURN true;\n"
					"  END IF;\n"
					"  RAISE EXCEPTION '%%', problem\n"
					"    USING ERRCODE = '23514', SCHEMA = %s, TABLE = '%s', CONSTRAINT = 'within_limits';\n"
					"END",
					sql.data, quote_literal_cstr(stream), table);
	return psprintf("CREATE FUNCTION %s.%s(%s) RETURNS boolean "
					"LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS %s",
					quote_identifier(stream), function_name(table),
					parameters.data, quote_literal_cstr(body));
}

/* Make what the constraint of a table of a stream calls, in a session. */
void
meter_make_limits(const char *stream, const char *table)
{
	char	   *function = limits_function(stream, table);

	if (function == NULL)
		return;
	meter_execute(function, SPI_OK_UTILITY);
	/* whoever inserts calls it, whatever the default privileges are */
	meter_execute(psprintf("GRANT EXECUTE ON FUNCTION %s.%s TO PUBLIC",
						   quote_identifier(stream), function_name(table)),
				  SPI_OK_UTILITY);
}

/*
 * Check that the tables of a stream have their limits, before anything relies
 * on them again.  In a session.
 */
void
meter_check_limits(const char *stream)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(stream)};

	meter_execute_params("SELECT t FROM unnest(ARRAY['event', 'measure', 'inventory']) t "
						 "WHERE NOT EXISTS (SELECT FROM pg_constraint k "
						 "JOIN pg_class c ON c.oid = k.conrelid AND c.relname = t "
						 "JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1::name "
						 "WHERE k.conname = 'within_limits' AND k.convalidated) ORDER BY t LIMIT 1",
						 SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("constraint \"within_limits\" of table \"%s.%s\" is missing or not validated",
						stream, meter_result_text(0, 1)),
				 errhint("Restore the constraint from the dump with ALTER TABLE ... ADD CONSTRAINT, or validate it.")));
}

/* --- rows as values ----------------------------------------------------- */

/* Find the limit of a column; NULL: it has none. */
const MeterLimit *
meter_limit_of(const char *table, const char *column)
{
	int			i;

	for (i = 0; i < (int) lengthof(limits); i++)
	{
		if (strcmp(limits[i].column, column) == 0 &&
			strcmp(limits[i].table, table) == 0)
			return &limits[i];
	}
	return NULL;
}

/* Say what is wrong with an instant; NULL: nothing. */
static char *
beyond_instant(TimestampTz instant)
{
	static TimestampTz first = 0;
	static TimestampTz end = 0;

	if (end == 0)
	{
		first = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(FIRST_INSTANT),
														ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
		end = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(END_OF_INSTANTS),
													  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	}
	if (instant >= first && instant < end)
		return NULL;
	return psprintf("is %s: years 1 to 9999 are allowed",
					timestamptz_to_str(instant));
}

/* Say what is wrong with a number; NULL: nothing. */
static char *
beyond_number(Numeric number)
{
	char	   *text;
	size_t		digits;
	int			decimals;

	if (numeric_is_nan(number) || numeric_is_inf(number))
		return psprintf("is %s: a finite number is needed",
						DatumGetCString(DirectFunctionCall1(numeric_out,
															NumericGetDatum(number))));
	decimals = DatumGetInt32(DirectFunctionCall1(numeric_scale,
												 NumericGetDatum(number)));
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(number)));
	digits = strspn(text + (text[0] == '-'), "0123456789");
	pfree(text);
	if (digits > DIGITS)
		return psprintf("has %zu digits before the point: at most %d are allowed",
						digits, DIGITS);
	if (decimals > DIGITS)
		return psprintf("has %d decimals: at most %d are allowed", decimals,
						DIGITS);
	return NULL;
}

/*
 * Say what is wrong with the value of a column, to follow its name; NULL:
 * nothing.  The value is of the column's type and not toasted.  What concerns
 * several columns is left to the constraint.
 */
char *
meter_beyond_limit(const MeterLimit *limit, Datum value)
{
	int			most;
	Size		size;
	char	   *problem = NULL;

	switch (limit->kind)
	{
		case INSTANT:
		case END_INSTANT:
			problem = beyond_instant(DatumGetTimestampTz(value));
			break;
		case NUMBER:
			problem = beyond_number(DatumGetNumeric(value));
			break;
		case ATTRIBUTES:
			size = VARSIZE_ANY(DatumGetPointer(value));
			if (size > ATTRIBUTES_BYTES)
				problem = psprintf("has %zu bytes: at most %d are allowed",
								   size, ATTRIBUTES_BYTES);
			break;
		default:
			most = most_bytes(limit->kind);
			size = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
			if (size > (Size) most)
				problem = psprintf("has %zu bytes: at most %d are allowed",
								   size, most);
			else if (size == 0 && (limit->kind == NEEDED_NAME ||
								   limit->kind == NEEDED_WORD))
				problem = pstrdup("has 0 bytes: at least 1 is needed");
	}
	return problem;
}

/* Refuse the name of a source that is longer than rows can have it. */
void
meter_check_source_name(const char *source)
{
	size_t		bytes = strlen(source);

	if (bytes > WORD_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"source\" has %zu bytes: at most %d are allowed",
						bytes, WORD_BYTES)));
}
