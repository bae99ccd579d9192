/*
 * key_scan.c
 *	  Reading the rows of a table in the order of its primary key.
 *
 * The index is read directly: no plan can turn it into a sort, and a few rows
 * can be looked up, one key after the other, without a query for each.  Rows
 * are those that the active snapshot sees.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "core/core.h"
#include "pg/cluster.h"
#include "pg/key_scan.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"

struct MeterKeyScan
{
	MemoryContext context;		/* it lives as long */
	Relation	relation;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	const MeterWriterColumn *columns;
	AttrNumber *numbers;		/* of the columns asked for */
};

/* Raise that a table is not as it was made. */
static void
changed(Relation relation, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is not as meter made it",
					RelationGetRelationName(relation)),
			 errdetail("%s", detail),
			 errhint("Undo what was changed, or restore the table from a stream that is new.")));
}

/* Find where a table has the columns that are asked for. */
static void
find_columns(MeterKeyScan *scan, int ncolumns)
{
	TupleDesc	descriptor = RelationGetDescr(scan->relation);
	int			i;
	int			j;

	scan->numbers = palloc0(ncolumns * sizeof(AttrNumber));
	for (i = 0; i < ncolumns; i++)
	{
		for (j = 0; j < descriptor->natts; j++)
		{
			Form_pg_attribute attribute = TupleDescAttr(descriptor, j);

			if (!attribute->attisdropped &&
				strcmp(NameStr(attribute->attname), scan->columns[i].name) == 0 &&
				attribute->atttypid == scan->columns[i].type)
				scan->numbers[i] = attribute->attnum;
		}
		if (scan->numbers[i] == 0)
			changed(scan->relation,
					psprintf("It has no column \"%s\" of the type it was made with.",
							 scan->columns[i].name));
	}
}

/*
 * Begin to read a table whose primary key has the first of these columns.
 * Nothing is read before meter_key_scan_seek().
 */
MeterKeyScan *
meter_key_scan_begin(const char *schema, const char *table,
					 const MeterWriterColumn *columns, int ncolumns)
{
	MeterKeyScan *scan = palloc0(sizeof(MeterKeyScan));
	Oid			index;
	int			i;

	meter_cluster_refuse(schema, table);
	scan->context = CurrentMemoryContext;
	scan->columns = columns;
	scan->relation = table_openrv(makeRangeVar(pstrdup(schema),
											   pstrdup(meter_table_name(schema, table)), -1),
								  AccessShareLock);
	find_columns(scan, ncolumns);
	index = METER_PRIMARY_KEY_INDEX(scan->relation);
	if (!OidIsValid(index))
		changed(scan->relation, "It has no primary key.");
	scan->index = index_open(index, AccessShareLock);
	for (i = 0; i < scan->index->rd_index->indnkeyatts; i++)
	{
		if (i >= ncolumns ||
			scan->index->rd_index->indkey.values[i] != scan->numbers[i])
			changed(scan->relation, "Its primary key has other columns.");
	}
	scan->slot = table_slot_create(scan->relation, NULL);
	return scan;
}

/* Return the function that tells whether two values of a type are equal. */
static Oid
equality(Oid type)
{
	switch (type)
	{
		case INT8OID:
			return F_INT8EQ;
		case TEXTOID:
			return F_TEXTEQ;
		default:
			Assert(type == UUIDOID);
			return F_UUID_EQ;
	}
}

/* Go to the rows that meet conditions on their key. */
static void
seek(MeterKeyScan *scan, int nkeys, ScanKey conditions)
{
	MemoryContext before = MemoryContextSwitchTo(scan->context);

	/* a scan has room for as many keys as it began with */
	if (scan->scan != NULL && scan->scan->numberOfKeys != nkeys)
	{
		index_endscan(scan->scan);
		scan->scan = NULL;
	}
	if (scan->scan == NULL)
		scan->scan = METER_INDEX_BEGINSCAN(scan->relation, scan->index,
										   GetActiveSnapshot(), nkeys);
	index_rescan(scan->scan, conditions, nkeys, NULL, 0);
	MemoryContextSwitchTo(before);
}

/* Go to the rows whose key begins with these values. */
void
meter_key_scan_seek(MeterKeyScan *scan, int nkeys, const Datum *keys)
{
	ScanKeyData conditions[INDEX_MAX_KEYS];
	int			i;

	for (i = 0; i < nkeys; i++)
		ScanKeyEntryInitialize(&conditions[i], 0, i + 1,
							   BTEqualStrategyNumber, InvalidOid,
							   scan->index->rd_indcollation[i],
							   equality(scan->columns[i].type), keys[i]);
	seek(scan, nkeys, conditions);
}

/* Go to the rows whose key begins with a text before this one. */
void
meter_key_scan_seek_before(MeterKeyScan *scan, Datum text)
{
	ScanKeyData condition;

	Assert(scan->columns[0].type == TEXTOID);
	ScanKeyEntryInitialize(&condition, 0, 1, BTLessStrategyNumber, InvalidOid,
						   scan->index->rd_indcollation[0], F_TEXT_LT, text);
	seek(scan, 1, &condition);
}

/* Read a row.  Returns false if there is none. */
static bool
read_row(MeterKeyScan *scan, ScanDirection direction)
{
	MemoryContext before = MemoryContextSwitchTo(scan->context);
	bool		found = index_getnext_slot(scan->scan, direction, scan->slot);

	if (found)
		slot_getallattrs(scan->slot);
	MemoryContextSwitchTo(before);
	return found;
}

/* Read the next row, the first after a seek. */
bool
meter_key_scan_next(MeterKeyScan *scan)
{
	return read_row(scan, ForwardScanDirection);
}

/* Read the row before, the last after a seek. */
bool
meter_key_scan_previous(MeterKeyScan *scan)
{
	return read_row(scan, BackwardScanDirection);
}

/* Return a column of the row, by its number among those asked for. */
Datum
meter_key_scan_value(const MeterKeyScan *scan, int column, bool *isnull)
{
	AttrNumber	number = scan->numbers[column];

	*isnull = scan->slot->tts_isnull[number - 1];
	return scan->slot->tts_values[number - 1];
}

/* Return where the row is. */
ItemPointer
meter_key_scan_place(const MeterKeyScan *scan)
{
	return &scan->slot->tts_tid;
}

/* End reading. */
void
meter_key_scan_end(MeterKeyScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->scan != NULL)
		index_endscan(scan->scan);
	index_close(scan->index, AccessShareLock);
	table_close(scan->relation, AccessShareLock);
	pfree(scan->numbers);
	pfree(scan);
}
