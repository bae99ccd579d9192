/*
 * shard.c
 *	  The tables of a shard, in place of those of a stream.
 *
 * What the engine does to the tables of a stream it can do to a shard of each
 * of them: they have the same columns, and stand in the same schema under names
 * of their own.  So nothing but names differs, and these are exchanged here, in
 * one place: in statements on their way to the server, and for whoever opens a
 * table by its name.
 *
 * A statement names a table of a stream always with its schema, as the engine
 * writes it.  What stands in a literal is left as it is.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "pg/shard.h"

/* The shard that names stand for; NULL: they mean what they say. */
static const MeterShard *current = NULL;

/*
 * Run a function that finds the tables of a shard where it names those of a
 * stream.
 */
void
meter_within_shard(const MeterShard *shard, void (*body) (void *arg),
				   void *arg)
{
	const MeterShard *before = current;

	current = shard;
	PG_TRY();
	{
		body(arg);
	}
	PG_FINALLY();
	{
		current = before;
	}
	PG_END_TRY();
}

/* Return the shard that names of tables stand for; NULL: none. */
const MeterShard *
meter_current_shard(void)
{
	return current;
}

/*
 * Return when the transaction began; all nodes that take part in it say the
 * same.
 */
TimestampTz
meter_transaction_began(void)
{
	return current != NULL ? current->began :
		GetCurrentTransactionStartTimestamp();
}

/* Return the table that stands for one of a stream, by a name of a length; or NULL. */
static const char *
find_table(const char *table, size_t length)
{
	ListCell   *cell;

	foreach(cell, current->tables)
	{
		const MeterShardTable *entry = lfirst(cell);

		if (strlen(entry->table) == length &&
			strncmp(entry->table, table, length) == 0)
			return entry->shard;
	}
	return NULL;
}

/* Return the name of the table that a name stands for. */
const char *
meter_table_name(const char *schema, const char *table)
{
	const char *found;

	if (current == NULL || strcmp(schema, current->stream) != 0)
		return table;
	found = find_table(table, strlen(table));
	return found != NULL ? found : table;
}

/* Tell whether a character can be part of a name that needs no quotes. */
static bool
is_of_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80) != 0;
}

/*
 * Return the end of what is within quotes and begins here, the quote after it
 * included.  A quote that is doubled is none; with `escapes` neither is one
 * after a backslash.
 */
static const char *
end_of_quoted(const char *at, bool escapes)
{
	char		quote = *at++;

	for (; *at != '\0'; at++)
	{
		if (escapes && *at == '\\' && at[1] != '\0')
			at++;
		else if (*at == quote && at[1] == quote)
			at++;
		else if (*at == quote)
			return at + 1;
	}
	return at;
}

/*
 * Return the end of the word, name or literal that begins here, or the next
 * character.
 */
static const char *
end_of_token(const char *at)
{
	if (*at == '\'' || *at == '"')
		return end_of_quoted(at, false);
	if ((*at == 'E' || *at == 'e') && at[1] == '\'')
		return end_of_quoted(at + 1, true);
	if (!is_of_name(*at))
		return at + 1;
	while (is_of_name(*at))
		at++;
	return at;
}

/*
 * Return a statement in which each table of the stream is named by the one that
 * stands for it.
 */
const char *
meter_shard_statement(const char *sql)
{
	const char *schema;
	size_t		length;
	const char *at = sql;
	StringInfoData statement;

	if (current == NULL)
		return sql;
	schema = quote_identifier(current->stream);
	length = strlen(schema);
	initStringInfo(&statement);
	while (*at != '\0')
	{
		const char *end = end_of_token(at);
		const char *found = NULL;

		if ((size_t) (end - at) == length && *end == '.' &&
			strncmp(at, schema, length) == 0)
		{
			const char *table = end + 1;
			const char *table_end = end_of_token(table);

			found = find_table(table, table_end - table);
			if (found != NULL)
			{
				appendStringInfo(&statement, "%s.%s", schema,
								 quote_identifier(found));
				end = table_end;
			}
		}
		if (found == NULL)
			appendBinaryStringInfo(&statement, at, end - at);
		at = end;
	}
	return statement.data;
}
