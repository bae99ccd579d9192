/*
 * transaction_id.h
 *	  The transaction IDs of usage rows.
 */
#ifndef METER_TRANSACTION_ID_H
#define METER_TRANSACTION_ID_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "core/core.h"

/* What the transaction IDs of all rows of a resource have in common. */
typedef struct MeterNaming
{
	StringInfoData prefix;		/* stream, meter, resource, ready to hash */
	uint64		resource_hash;	/* 42 bits */
} MeterNaming;

/* A dimension and its value; dimensions go in byte order of the names. */
typedef struct MeterDimension
{
	MeterAttr	name;
	MeterAttr	value;
} MeterDimension;

/* The least and the greatest of the transaction IDs of rows. */
typedef struct MeterIdRange
{
	bool		any;			/* there was a row */
	pg_uuid_t	first;
	pg_uuid_t	last;
} MeterIdRange;

extern void meter_id_range_add(MeterIdRange *range, const pg_uuid_t *id);
extern void meter_id_range_merge(MeterIdRange *range,
								 const MeterIdRange *other);
extern void meter_least_id(TimestampTz period_start, pg_uuid_t *id);
extern void meter_naming_begin(MeterNaming *naming, MeterAttr stream,
							   MeterAttr meter, MeterAttr resource);
extern uint64 meter_hash_resource(MeterAttr stream, MeterAttr meter,
								  MeterAttr resource);
extern void meter_naming_resume(MeterNaming *naming, MeterAttr stream,
								MeterAttr meter, MeterAttr resource,
								uint64 resource_hash);
extern void meter_name_usage(const MeterNaming *naming, MeterAttr account,
							 int ndimensions,
							 const MeterDimension *dimensions,
							 TimestampTz period_start, int32 revision,
							 pg_uuid_t *name);
extern void meter_name_range(const MeterNaming *naming,
							 TimestampTz period_start, pg_uuid_t *low,
							 pg_uuid_t *high);
extern void meter_name_ledger_row(const MeterNaming *naming,
								  MeterAttr account, Jsonb *dimensions,
								  TimestampTz period_start, int32 revision,
								  pg_uuid_t *name);

#endif							/* METER_TRANSACTION_ID_H */
