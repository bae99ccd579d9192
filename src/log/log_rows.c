/*
 * log_rows.c
 *	  Reading the rows of a resource in a log without a plan.
 *
 * A plan over hundreds of segments takes longer to make than its rows take to
 * be found.  So each segment is read by itself: by its index, or, where it has
 * none yet, from its beginning to its end.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "partitioning/partdesc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/core.h"
#include "log/log_rows.h"
#include "pg/cluster.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"

/* What is read of a segment, and where it goes. */
typedef struct SegmentScan
{
	Relation	segment;
	AttrNumber	column;			/* that of the resource */
	Datum		resource;
	TupleTableSlot *found;		/* a row of the segment */
	TupleConversionMap *map;	/* from that to one of the log; NULL: it is
								 * one */
	TupleTableSlot *row;		/* a row of the log */
	MeterRows  *rows;
} SegmentScan;

/*
 * Return an index of the segment that begins with the resource, and that the
 * active snapshot may use; NULL if there is none.
 */
static Relation
open_index(const SegmentScan *scan)
{
	List	   *indexes = RelationGetIndexList(scan->segment);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
			!form->indcheckxmin && RelationGetIndexPredicate(index) == NIL &&
			form->indkey.values[0] == scan->column &&
			index->rd_indcollation[0] == C_COLLATION_OID &&
			index->rd_opfamily[0] == TEXT_BTREE_FAM_OID)
			return index;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return NULL;
}

/* Keep the row that was found. */
static void
keep_row(SegmentScan *scan)
{
	TupleTableSlot *row = scan->found;

	CHECK_FOR_INTERRUPTS();
	if (scan->map != NULL)
		row = execute_attr_map_slot(scan->map->attrMap, row, scan->row);
	tuplestore_puttupleslot(scan->rows->store, row);
	scan->rows->count++;
}

/* Read the rows of the resource by an index. */
static void
read_by_index(SegmentScan *scan, Relation index)
{
	ScanKeyData key;
	IndexScanDesc found = METER_INDEX_BEGINSCAN(scan->segment, index,
												GetActiveSnapshot(), 1);

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, scan->resource);
	index_rescan(found, &key, 1, NULL, 0);
	while (index_getnext_slot(found, ForwardScanDirection, scan->found))
		keep_row(scan);
	index_endscan(found);
}

/* Read all rows, and keep those of the resource. */
static void
read_all(SegmentScan *scan)
{
	TableScanDesc found = table_beginscan(scan->segment, GetActiveSnapshot(),
										  0, NULL);
	bool		isnull;

	while (table_scan_getnextslot(found, ForwardScanDirection, scan->found))
	{
		Datum		name = slot_getattr(scan->found, scan->column, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull &&
			DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
												 name, scan->resource)))
			keep_row(scan);
	}
	table_endscan(found);
}

/* Read the rows of the resource in a segment of a log. */
static void
read_segment(SegmentScan *scan, Relation log)
{
	Relation	index;

	scan->column = get_attnum(RelationGetRelid(scan->segment), "resource");
	scan->found = table_slot_create(scan->segment, NULL);
	scan->map = convert_tuples_by_name(RelationGetDescr(scan->segment),
									   RelationGetDescr(log));
	index = open_index(scan);
	if (index != NULL)
	{
		read_by_index(scan, index);
		index_close(index, AccessShareLock);
	}
	else
		read_all(scan);
	if (scan->map != NULL)
		free_conversion_map(scan->map);
	ExecDropSingleTupleTableSlot(scan->found);
}

/*
 * Read the rows of a resource, text, that the active snapshot sees in a log, as
 * rows to which no name was given yet.  Returns false, and reads nothing, if the
 * log has a part that is no ordinary table.
 */
bool
meter_read_log_rows(const char *stream, const char *log, Datum resource,
					MeterRows *rows)
{
	Relation	relation = table_openrv(makeRangeVar(pstrdup(stream),
													 pstrdup(meter_table_name(stream, log)), -1),
										AccessShareLock);
	SegmentScan scan;
	PartitionDesc segments;
	bool		ordinary = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	int			i;

	meter_cluster_refuse(stream, log);
	memset(&scan, 0, sizeof(scan));
	scan.resource = resource;
	scan.rows = rows;
	segments = ordinary ? RelationGetPartitionDesc(relation, true) : NULL;
	for (i = 0; ordinary && i < segments->nparts; i++)
		ordinary = get_rel_relkind(segments->oids[i]) == RELKIND_RELATION;
	if (ordinary)
	{
		rows->descriptor = CreateTupleDescCopy(RelationGetDescr(relation));
		rows->store = tuplestore_begin_heap(true, false, work_mem);
		rows->count = 0;
		scan.row = MakeSingleTupleTableSlot(rows->descriptor, &TTSOpsVirtual);
		for (i = 0; i < segments->nparts; i++)
		{
			scan.segment = table_open(segments->oids[i], AccessShareLock);
			read_segment(&scan, relation);
			table_close(scan.segment, AccessShareLock);
		}
		ExecDropSingleTupleTableSlot(scan.row);
	}
	table_close(relation, AccessShareLock);
	return ordinary;
}
