/*
 * account_resources.c
 *	  Which resources each account owns, or once did.
 *
 * An event names its resource, and the states are in the order of resources.
 * The table _account_resource leads from an account to the states that usage of
 * it can come of: those that say that they are the account's, and those of what
 * it was billed for last.  A row is a list of the hashes by which states are
 * found, of resources that became the account's in one pass.  A hash too many
 * only makes somebody look at a state in vain.  So lists are added, in the step
 * that writes the states, and never changed.
 *
 * Most steps find no account that is new to a resource: it is compared with that
 * of the state before, which is in a list already.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "core/event_set.h"
#include "engine/account_resources.h"
#include "engine/states.h"
#include "pg/attr.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* A list has no more hashes. */
#define LONGEST_LIST	1000

/* Lists are written when they fill so many bytes. */
#define MEMORY_LIMIT	(32 * 1024 * 1024)

/* The columns of the table. */
enum
{
	ACCOUNT_METER,
	ACCOUNT_ACCOUNT,
	ACCOUNT_HASHES,
	ACCOUNT_RESOURCE,			/* of a shard, by which its rows are its own */
	ACCOUNT_NCOLUMNS
};

static const MeterWriterColumn columns[ACCOUNT_NCOLUMNS] = {
	{"meter", TEXTOID}, {"account", TEXTOID}, {"hashes", INT8ARRAYOID},
	{"resource", TEXTOID}
};

/* What became an account's. */
typedef struct AccountList
{
	MeterAttr	account;
	uint64	   *hashes;
	int32		count;
	int32		size;			/* how many there is room for */
	uint32		hash;			/* of the account */
	char		status;
} AccountList;

#define SH_PREFIX account
#define SH_ELEMENT_TYPE AccountList
#define SH_KEY_TYPE MeterAttr
#define SH_KEY account
#define SH_HASH_KEY(table, key) \
	hash_bytes((const unsigned char *) (key).data, (key).len)
#define SH_EQUAL(table, a, b) meter_attr_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MeterAccounts
{
	const MeterDefinition *definition;
	bool		anew;			/* lists may lack what states say */
	MemoryContext context;		/* of the lists; reset when they are written */
	account_hash *lists;		/* NULL: nothing was noted */
};

/* Begin to note accounts of a meter, in the current memory context. */
MeterAccounts *
meter_accounts_begin(const MeterDefinition *definition)
{
	MeterAccounts *accounts = palloc0(sizeof(MeterAccounts));

	accounts->definition = definition;
	accounts->context = AllocSetContextCreate(CurrentMemoryContext,
											  "meter accounts",
											  ALLOCSET_DEFAULT_SIZES);
	return accounts;
}

/* Begin anew with no lists: all accounts are noted, whatever states said. */
void
meter_accounts_renew(MeterAccounts *accounts)
{
	accounts->anew = true;
	meter_execute(psprintf("DELETE FROM %s._account_resource WHERE meter = %s",
						   quote_identifier(accounts->definition->stream),
						   quote_literal_cstr(accounts->definition->name)),
				  SPI_OK_DELETE);
}

/* Write a list. */
static void
write_list(MeterTableWriter *writer, Datum meter, const AccountList *list)
{
	static const bool nulls[ACCOUNT_NCOLUMNS] = {false};
	Datum		values[ACCOUNT_NCOLUMNS];
	Datum		elements[LONGEST_LIST];
	const MeterShard *shard = meter_current_shard();
	int32		from;

	if (shard != NULL)
		values[ACCOUNT_RESOURCE] = CStringGetTextDatum(shard->key);
	values[ACCOUNT_METER] = meter;
	values[ACCOUNT_ACCOUNT] = meter_text_from_attr(list->account);
	for (from = 0; from < list->count; from += LONGEST_LIST)
	{
		int			n = Min(list->count - from, LONGEST_LIST);
		int			i;

		for (i = 0; i < n; i++)
			elements[i] = Int64GetDatum((int64) list->hashes[from + i]);
		values[ACCOUNT_HASHES] =
			PointerGetDatum(construct_array(elements, n, INT8OID, 8,
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		meter_writer_insert(writer, values, nulls);
	}
}

/* Write the lists, and begin with none. */
static void
write_lists(MeterAccounts *accounts)
{
	MemoryContext before;
	MeterTableWriter *writer;
	account_iterator iterator;
	AccountList *list;
	Datum		meter;

	if (accounts->lists == NULL)
		return;
	before = MemoryContextSwitchTo(accounts->context);
	meter = CStringGetTextDatum(accounts->definition->name);
	writer = meter_writer_begin(accounts->definition->stream,
								"_account_resource", columns,
								meter_current_shard() != NULL ?
								ACCOUNT_NCOLUMNS : ACCOUNT_RESOURCE, NULL);
	account_start_iterate(accounts->lists, &iterator);
	while ((list = account_iterate(accounts->lists, &iterator)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		write_list(writer, meter, list);
	}
	(void) meter_writer_end(writer, NULL);
	MemoryContextSwitchTo(before);
	accounts->lists = NULL;
	MemoryContextReset(accounts->context);
}

/* Return the list of an account, which is made if there is none. */
static AccountList *
find_list(MeterAccounts *accounts, MeterAttr account)
{
	AccountList *list;
	char	   *data;
	bool		found;

	if (accounts->lists == NULL)
		accounts->lists = account_create(accounts->context, 256, NULL);
	list = account_insert(accounts->lists, account, &found);
	if (!found)
	{
		data = palloc(Max(account.len, 1));
		memcpy(data, account.data, account.len);
		list->account = meter_attr(data, account.len);
		list->count = 0;
		list->size = 4;
		list->hashes = palloc(list->size * sizeof(uint64));
	}
	return list;
}

/*
 * Note that the resource of a hash, whose state was `before`, is an account's;
 * NULL is nobody's, as ''.
 */
void
meter_accounts_note(MeterAccounts *accounts, const MeterCarried *before,
					uint64 hash, MeterAttr account)
{
	MemoryContext context;
	AccountList *list;

	if (MeterAttrIsNull(account))
		account = meter_attr("", 0);
	if (before->exists && !accounts->anew &&
		meter_attr_equal(account, MeterAttrIsNull(before->account) ?
						 meter_attr("", 0) : before->account))
		return;
	context = MemoryContextSwitchTo(accounts->context);
	list = find_list(accounts, account);
	if (list->count == 0 || list->hashes[list->count - 1] != hash)
	{
		if (list->count == list->size)
		{
			list->size *= 2;
			list->hashes = repalloc_huge(list->hashes,
										 list->size * sizeof(uint64));
		}
		list->hashes[list->count++] = hash;
		if (list->count % LONGEST_LIST == 0 &&
			MemoryContextMemAllocated(accounts->context, true) > MEMORY_LIMIT)
			write_lists(accounts);
	}
	MemoryContextSwitchTo(context);
}

/*
 * The same of the owners that are known of a resource for each entity: jsonb, or
 * 0.
 */
void
meter_accounts_note_known(MeterAccounts *accounts, const MeterCarried *before,
						  uint64 hash, Datum owners)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (owners == (Datum) 0)
		return;
	iterator = JsonbIteratorInit(&DatumGetJsonbP(owners)->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_VALUE && value.type == jbvString)
			meter_accounts_note(accounts, before, hash,
								meter_attr(value.val.string.val,
										   value.val.string.len));
		else if (token == WJB_VALUE)
			meter_accounts_note(accounts, before, hash, METER_NULL_ATTR);
	}
}

/* Write what was noted. */
void
meter_accounts_end(MeterAccounts *accounts)
{
	write_lists(accounts);
	MemoryContextDelete(accounts->context);
}

/*
 * Return a query (resource) for the resources with a state of a meter that are
 * one of these accounts', a text[], or once were.
 */
char *
meter_account_resources(const char *stream, const char *meter,
						Datum accounts)
{
	const char *schema = quote_identifier(stream);
	const char *name = quote_literal_cstr(meter);

	return psprintf("SELECT s.resource FROM (SELECT DISTINCT unnest(a.hashes) AS hash FROM %s._account_resource a "
					"WHERE a.meter = %s AND a.account = ANY (%s)) h CROSS JOIN LATERAL "
					"(SELECT resource FROM %s._resource_state r WHERE r.meter = %s AND r.hash = h.hash OFFSET 0) s",
					schema, name, meter_text_array_literal(accounts), schema, name);
}
