/*
 * transaction_id.c
 *	  The transaction IDs of usage rows.
 *
 * A transaction ID is a UUID of version 8, computed from what the row is
 * about, so that any program can compute it and no row can be written twice.
 * From the most significant bit: 36 bits of the period's start in seconds, 42
 * bits of a hash of (stream, meter, resource), 44 bits of a hash of
 * everything.  So the primary key of a ledger grows at its right edge, and the
 * rows of a resource in a period are a range of it.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/core.h"
#include "core/sha256.h"
#include "types/transaction_id.h"

#define RESOURCE_HASH_BITS	42
#define ROW_HASH_BITS		44

/* 1970-01-01 in timestamptz */
#define UNIX_EPOCH_USEC \
	((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

/* Return the begin of a period in whole seconds since 1970, 0 before 1970. */
static uint64
period_seconds(TimestampTz period_start)
{
	int64		seconds;

	if (period_start <= UNIX_EPOCH_USEC)
		return 0;
	seconds = (period_start - UNIX_EPOCH_USEC) / USECS_PER_SEC;
	if (seconds >= INT64CONST(1) << 36)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("period start is out of range for a transaction ID: \"%s\"",
						timestamptz_to_str(period_start)),
				 errhint("A period must begin before the year 4147.")));
	return seconds;
}

/* Append an attribute in UTF-8, preceded by its length. */
static void
append_attr(StringInfo buffer, MeterAttr attr)
{
	uint32		length;

	if (MeterAttrIsNull(attr))
	{
		length = PG_UINT32_MAX;
		appendBinaryStringInfo(buffer, (char *) &length, sizeof(length));
	}
	else if (GetDatabaseEncoding() == PG_UTF8)
	{
		length = pg_hton32(attr.len);
		appendBinaryStringInfo(buffer, (char *) &length, sizeof(length));
		appendBinaryStringInfo(buffer, attr.data, attr.len);
	}
	else
	{
		char	   *text = pnstrdup(attr.data, attr.len);
		char	   *utf8 = pg_server_to_any(text, attr.len, PG_UTF8);

		length = pg_hton32((uint32) strlen(utf8));
		appendBinaryStringInfo(buffer, (char *) &length, sizeof(length));
		appendStringInfoString(buffer, utf8);
		if (utf8 != text)
			pfree(utf8);
		pfree(text);
	}
}

/* Return the first `bits` bits of the SHA-256 of a buffer. */
static uint64
hash_front(const StringInfoData *buffer, int bits)
{
	uint8		digest[METER_SHA256_LENGTH];
	uint64		front;

	meter_sha256((const uint8 *) buffer->data, buffer->len, digest);
	memcpy(&front, digest, sizeof(front));
	return pg_ntoh64(front) >> (64 - bits);
}

/* Prepare to make the transaction IDs of the rows of a resource. */
void
meter_naming_begin(MeterNaming *naming, MeterAttr stream, MeterAttr meter,
				   MeterAttr resource)
{
	meter_naming_resume(naming, stream, meter, resource, 0);
	naming->resource_hash = hash_front(&naming->prefix, RESOURCE_HASH_BITS);
}

/* Return what the transaction IDs of a resource have in common. */
uint64
meter_hash_resource(MeterAttr stream, MeterAttr meter, MeterAttr resource)
{
	MeterNaming naming;

	meter_naming_begin(&naming, stream, meter, resource);
	pfree(naming.prefix.data);
	return naming.resource_hash;
}

/* Begin to name usage of a resource whose hash is known. */
void
meter_naming_resume(MeterNaming *naming, MeterAttr stream, MeterAttr meter,
					MeterAttr resource, uint64 resource_hash)
{
	initStringInfo(&naming->prefix);
	append_attr(&naming->prefix, stream);
	append_attr(&naming->prefix, meter);
	append_attr(&naming->prefix, resource);
	naming->resource_hash = resource_hash;
}

/*
 * Put the three parts of a transaction ID around the version and the variant.
 */
static void
assemble(uint64 seconds, uint64 resource_hash, uint64 row_hash,
		 pg_uuid_t *name)
{
	uint64		high;
	uint64		low;

	high = (seconds << 28) | ((resource_hash >> 30) << 16) |
		(UINT64CONST(8) << 12) | ((resource_hash >> 18) & 0xfff);
	low = (UINT64CONST(2) << 62) |
		((resource_hash & 0x3ffff) << 44) | row_hash;
	high = pg_hton64(high);
	low = pg_hton64(low);
	memcpy(name->data, &high, sizeof(high));
	memcpy(name->data + sizeof(high), &low, sizeof(low));
}

/* Make the transaction ID of a row.  An account that is NULL counts as ''. */
void
meter_name_usage(const MeterNaming *naming, MeterAttr account,
				 int ndimensions, const MeterDimension *dimensions,
				 TimestampTz period_start, int32 revision, pg_uuid_t *name)
{
	StringInfoData buffer;
	uint32		count = pg_hton32(ndimensions);
	uint64		start = pg_hton64(period_start - UNIX_EPOCH_USEC);
	uint32		number = pg_hton32(revision);
	int			i;

	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, naming->prefix.data, naming->prefix.len);
	if (MeterAttrIsNull(account))
		account.len = 0;
	append_attr(&buffer, account);
	appendBinaryStringInfo(&buffer, (char *) &count, sizeof(count));
	for (i = 0; i < ndimensions; i++)
	{
		append_attr(&buffer, dimensions[i].name);
		append_attr(&buffer, dimensions[i].value);
	}
	appendBinaryStringInfo(&buffer, (char *) &start, sizeof(start));
	appendBinaryStringInfo(&buffer, (char *) &number, sizeof(number));

	assemble(period_seconds(period_start), naming->resource_hash,
			 hash_front(&buffer, ROW_HASH_BITS), name);
	pfree(buffer.data);
}

/*
 * Make the least and the greatest transaction ID that a row of the resource in
 * a period can have.
 */
void
meter_name_range(const MeterNaming *naming, TimestampTz period_start,
				 pg_uuid_t *low, pg_uuid_t *high)
{
	uint64		seconds = period_seconds(period_start);

	assemble(seconds, naming->resource_hash, 0, low);
	assemble(seconds, naming->resource_hash,
			 (UINT64CONST(1) << ROW_HASH_BITS) - 1, high);
}

/* Return an argument of type text, or NULL. */
static MeterAttr
attr_from_arg(FunctionCallInfo fcinfo, int argument)
{
	MeterAttr	attr = METER_NULL_ATTR;

	if (!PG_ARGISNULL(argument))
	{
		text	   *value = PG_GETARG_TEXT_PP(argument);

		attr.data = VARDATA_ANY(value);
		attr.len = VARSIZE_ANY_EXHDR(value);
	}
	return attr;
}

/* Raise an error if an argument is null. */
static void
check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", name)));
}

/* Order dimensions by name, for qsort. */
static int
dimension_cmp(const void *a, const void *b)
{
	MeterAttr	aname = ((const MeterDimension *) a)->name;
	MeterAttr	bname = ((const MeterDimension *) b)->name;
	int			cmp = memcmp(aname.data, bname.data,
							 Min(aname.len, bname.len));

	return cmp != 0 ? cmp : aname.len - bname.len;
}

/* Read the dimensions in a jsonb object, in byte order of their names. */
static int
dimensions_from_jsonb(Jsonb *jsonb, MeterDimension **dimensions)
{
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbValue	value;
	JsonbIteratorToken token;
	int			count = 0;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"dimensions\" must be a JSON object")));
	*dimensions = palloc(Max(JB_ROOT_COUNT(jsonb), 1) *
						 sizeof(MeterDimension));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		MeterDimension *dimension = *dimensions + count;

		if (token == WJB_KEY)
		{
			dimension->name.data = value.val.string.val;
			dimension->name.len = value.val.string.len;
		}
		else if (token == WJB_VALUE)
		{
			if (value.type == jbvNull)
				dimension->value = METER_NULL_ATTR;
			else if (value.type == jbvString)
			{
				dimension->value.data = value.val.string.val;
				dimension->value.len = value.val.string.len;
			}
			else
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("dimension \"%.*s\" must be a string or null",
								dimension->name.len, dimension->name.data)));
			count++;
		}
	}
	qsort(*dimensions, count, sizeof(MeterDimension), dimension_cmp);
	return count;
}

/* Make the transaction ID of a row whose dimensions are those of the ledger. */
void
meter_name_ledger_row(const MeterNaming *naming, MeterAttr account,
					  Jsonb *dimensions, TimestampTz period_start,
					  int32 revision, pg_uuid_t *name)
{
	MeterDimension *list;
	int			count = dimensions_from_jsonb(dimensions, &list);

	meter_name_usage(naming, account, count, list, period_start, revision,
					 name);
	pfree(list);
}

PG_FUNCTION_INFO_V1(meter_transaction_id);

/* transaction_id(stream, meter, resource, account, dimensions, period_start, revision) */
Datum
meter_transaction_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *name = palloc(sizeof(pg_uuid_t));
	MeterNaming naming;
	TimestampTz period_start;

	check_not_null(fcinfo, 0, "stream");
	check_not_null(fcinfo, 1, "meter");
	check_not_null(fcinfo, 2, "resource");
	check_not_null(fcinfo, 4, "dimensions");
	check_not_null(fcinfo, 5, "period_start");
	check_not_null(fcinfo, 6, "revision");
	period_start = PG_GETARG_TIMESTAMPTZ(5);
	if (TIMESTAMP_NOT_FINITE(period_start))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"period_start\" must be finite")));

	if (PG_GETARG_INT32(6) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"revision\" must not be negative")));
	meter_naming_begin(&naming, attr_from_arg(fcinfo, 0),
					   attr_from_arg(fcinfo, 1), attr_from_arg(fcinfo, 2));
	meter_name_ledger_row(&naming, attr_from_arg(fcinfo, 3),
						  PG_GETARG_JSONB_P(4), period_start,
						  PG_GETARG_INT32(6), name);
	PG_RETURN_UUID_P(name);
}

PG_FUNCTION_INFO_V1(meter_resource_hash);

/* resource_hash(stream, meter, resource): its part of transaction IDs */
Datum
meter_resource_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) meter_hash_resource(attr_from_arg(fcinfo, 0),
												attr_from_arg(fcinfo, 1),
												attr_from_arg(fcinfo, 2)));
}

PG_FUNCTION_INFO_V1(meter_transaction_id_low);

/*
 * transaction_id_low(stream, meter, resource, period_start): the least ID that
 * a row of the resource and the period can have
 */
Datum
meter_transaction_id_low(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *name = palloc(sizeof(pg_uuid_t));
	MeterNaming naming;

	meter_naming_begin(&naming, attr_from_arg(fcinfo, 0),
					   attr_from_arg(fcinfo, 1), attr_from_arg(fcinfo, 2));
	assemble(period_seconds(PG_GETARG_TIMESTAMPTZ(3)), naming.resource_hash,
			 0, name);
	PG_RETURN_UUID_P(name);
}

PG_FUNCTION_INFO_V1(meter_transaction_id_high);

/*
 * transaction_id_high(stream, meter, resource, period_start): the greatest ID
 * that a row of the resource and the period can have
 */
Datum
meter_transaction_id_high(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *name = palloc(sizeof(pg_uuid_t));
	MeterNaming naming;

	meter_naming_begin(&naming, attr_from_arg(fcinfo, 0),
					   attr_from_arg(fcinfo, 1), attr_from_arg(fcinfo, 2));
	assemble(period_seconds(PG_GETARG_TIMESTAMPTZ(3)), naming.resource_hash,
			 (UINT64CONST(1) << ROW_HASH_BITS) - 1, name);
	PG_RETURN_UUID_P(name);
}

/* Extend a range of transaction IDs, so that it has one more. */
void
meter_id_range_add(MeterIdRange *range, const pg_uuid_t *id)
{
	if (!range->any || memcmp(id, &range->first, sizeof(*id)) < 0)
		range->first = *id;
	if (!range->any || memcmp(id, &range->last, sizeof(*id)) > 0)
		range->last = *id;
	range->any = true;
}

/* Extend a range of transaction IDs, so that it has those of another. */
void
meter_id_range_merge(MeterIdRange *range, const MeterIdRange *other)
{
	if (!other->any)
		return;
	meter_id_range_add(range, &other->first);
	meter_id_range_add(range, &other->last);
}

/* Make the ID that no row of a period or a later one has a lesser one than. */
void
meter_least_id(TimestampTz period_start, pg_uuid_t *id)
{
	uint64		high = 0;

	if (!TIMESTAMP_IS_NOBEGIN(period_start))
		high = pg_hton64(period_seconds(period_start) << 28);
	memset(id, 0, sizeof(*id));
	memcpy(id->data, &high, sizeof(high));
}

PG_FUNCTION_INFO_V1(meter_transaction_id_from);

/*
 * transaction_id_from(period_start): no row of that period or a later one has
 * a lesser ID
 */
Datum
meter_transaction_id_from(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *name = palloc(sizeof(pg_uuid_t));

	meter_least_id(PG_GETARG_TIMESTAMPTZ(0), name);
	PG_RETURN_UUID_P(name);
}
