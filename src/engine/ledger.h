/*
 * ledger.h
 *	  The ledger: what is written into it, and where it differs from expected
 *	  usage.
 */
#ifndef METER_LEDGER_H
#define METER_LEDGER_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

#include "catalog/definition.h"
#include "core/core.h"
#include "engine/quarantine.h"
#include "engine/resources.h"
#include "engine/usage_rows.h"
#include "types/transaction_id.h"

/* What becomes of expected usage. */
typedef enum MeterLedgerUse
{
	METER_LEDGER_APPEND,		/* written: the ledger has nothing there */
	METER_LEDGER_CORRECT,		/* written where the ledger differs */
	METER_LEDGER_COMPARE		/* told where the ledger differs */
} MeterLedgerUse;

/* A key of the ledger, what the ledger says of it and what is expected. */
typedef struct MeterDifference
{
	MeterAttr	account;
	MeterAttr	resource;
	Datum		dimensions;		/* jsonb */
	TimestampTz period_start;
	Numeric		ledger;			/* NULL: no row */
	Numeric		expected;		/* NULL: none */
	int32		revisions;		/* rows in the ledger */
} MeterDifference;

/* The columns of rows of differences. */
enum
{
	METER_DIFFERENCE_ACCOUNT,
	METER_DIFFERENCE_RESOURCE,
	METER_DIFFERENCE_DIMENSIONS,
	METER_DIFFERENCE_PERIOD_START,
	METER_DIFFERENCE_LEDGER,
	METER_DIFFERENCE_EXPECTED,
	METER_DIFFERENCE_NCOLUMNS
};

typedef void (*MeterTellDifference) (void *arg,
									 const MeterDifference *difference);

/* What the sorts of a pass may keep in memory, in kB: more reads back slower. */
#define METER_SORT_MEMORY	(64 * 1024)

typedef struct MeterLedger MeterLedger;

extern MeterLedger *meter_ledger_begin(const MeterDefinition *definition,
									   MeterUsageSpec *spec,
									   MeterLedgerUse use, int64 settlement,
									   bool in_order);
extern void meter_difference_values(const MeterDifference *difference,
									Datum *values, bool *nulls);
extern MeterDifference meter_difference_of(const Datum *values,
										   const bool *nulls);
extern bool meter_ledger_sorts(const MeterLedger *ledger);
extern void meter_ledger_leave_out(MeterLedger *ledger,
								   MeterQuarantine *quarantine);
extern bool meter_ledger_compares(const MeterLedger *ledger);
extern void meter_ledger_resource(MeterLedger *ledger, MeterAttr resource,
								  uint64 hash);
extern void meter_ledger_expect(MeterLedger *ledger, const MeterUsageRow *row);
extern void meter_ledger_read(MeterLedger *ledger, TimestampTz from,
							  TimestampTz to);
extern void meter_ledger_read_resources(MeterLedger *ledger,
										const MeterResources *resources);
extern void meter_ledger_tell(MeterLedger *ledger, MeterTellDifference tell,
							  void *arg);
extern int64 meter_ledger_end(MeterLedger *ledger, int64 *bytes,
							  MeterIdRange *written);

#endif							/* METER_LEDGER_H */
