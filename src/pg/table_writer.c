/*
 * table_writer.c
 *	  Writing many rows into a table, in blocks.
 *
 * Rows go straight to the table's access method, as those of COPY do: many at
 * a time, with the entries of its indexes, after its constraints were checked.
 * Nothing else is done that an INSERT does.  So only a plain table is written
 * this way: one without triggers on inserts, rules, generated columns, foreign
 * partitions, forced row security or columns of somebody else's, and with
 * indexes that decide at once.  Rows for any other table are put aside, and
 * an INSERT writes each block of them.
 *
 * Of a partitioned table each row goes to its partition.  Rows mostly come in
 * the order of its key, so a block is of one partition, and is written when the
 * next row is of another.  Both the table and the partition must be plain, or
 * the rows of the partition are put aside.  A row without a partition is left
 * to the caller.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/core.h"
#include "pg/cluster.h"
#include "pg/meter_compat.h"
#include "pg/shard.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* A block is so many rows, or the rows that fill so many bytes. */
#define BLOCK_ROWS	1000
#define BLOCK_BYTES	(1024 * 1024)

/* What a table is to the writer. */
typedef enum Role
{
	ROLE_TABLE,					/* rows are written into it */
	ROLE_PARENT,				/* into its partitions */
	ROLE_PARTITION
} Role;

/*
 * A BRIN index of one column, by value.  It keeps what a range of pages has, so
 * a row that says the same as the one before it, on the same page, adds nothing.
 */
typedef struct Summary
{
	Relation	index;
	IndexInfo  *info;
	BlockNumber block;			/* of the last row; InvalidBlockNumber: none */
	Datum		value;
	bool		isnull;
} Summary;

/* A table that blocks are written into. */
typedef struct Target
{
	bool		known;			/* it was looked at */
	Relation	relation;		/* NULL: it is not plain */
	ResultRelInfo *result;
	BulkInsertState bulk;
	int			nindices;		/* with those that are summaries, at the end */
	Summary    *summaries;
} Target;

struct MeterTableWriter
{
	const char *schema;
	const char *table;
	const MeterWriterColumn *columns;
	int			ncolumns;
	const char *key;
	Relation	relation;		/* the table itself, NULL: it is not plain,
								 * nor partitioned */
	TupleDesc	descriptor;		/* of the rows that the caller gives */
	EState	   *estate;
	Target		own;			/* unless it is partitioned */
	Target	   *target;			/* into which rows go now; NULL: aside */
	TupleTableSlot *slots[BLOCK_ROWS];
	TupleTableSlot *update_slot;
	int			nslots;			/* that are filled */
	Size		nbytes;			/* of their rows */
	int64		bytes;			/* of all rows */
	MemoryContext context;		/* the writer's own */
	MemoryContext block;		/* what a flush allocates */
	int64		rows;

	/* of a partitioned table */
	PartitionKey partition_key;
	PartitionDesc partitions;	/* NULL: it is not partitioned */
	bool		parent_is_plain;
	Target	   *targets;		/* one for each */
	int			current;		/* the partition of the last row, or -1 */

	/* rows for what is not plain */
	char	   *sql;			/* the INSERT; NULL: there were none */
	SPIPlanPtr	plan;
	MeterRows	aside;
};

/*
 * Tell whether triggers leave rows as they are.  Those of statements are the
 * table's that an INSERT names.
 */
static bool
triggers_are_plain(Relation relation, bool updates, Role role)
{
	TriggerDesc *triggers = relation->trigdesc;

	if (triggers == NULL)
		return true;
	if (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		triggers->trig_insert_instead_row ||
		triggers->trig_update_before_row || triggers->trig_update_after_row)
		return false;
	if (role == ROLE_PARTITION)
		return true;
	if (triggers->trig_insert_before_statement ||
		triggers->trig_insert_after_statement ||
		triggers->trig_insert_new_table ||
		triggers->trig_update_new_table || triggers->trig_update_old_table)
		return false;
	return !updates || (!triggers->trig_update_before_statement &&
						!triggers->trig_update_after_statement);
}

/*
 * Tell whether a row of the table is nothing but what the caller puts into it.
 * What was checked before the table was locked is checked again here.
 */
static bool
is_plain(const MeterTableWriter *writer, Relation relation, Role role)
{
	Form_pg_class form = relation->rd_rel;
	TupleDesc	descriptor = RelationGetDescr(relation);
	int			i;

	if (role == ROLE_PARENT ? form->relkind != RELKIND_PARTITIONED_TABLE :
		(form->relkind != RELKIND_RELATION ||
		 form->relam != HEAP_TABLE_AM_OID || form->relhassubclass))
		return false;
	if (form->relispartition != (role == ROLE_PARTITION) ||
		relation->rd_rules != NULL || form->relforcerowsecurity ||
		form->relowner != GetUserId())
		return false;
	if (!triggers_are_plain(relation, writer->key != NULL, role))
		return false;
	if (descriptor->constr != NULL && descriptor->constr->has_generated_stored)
		return false;
	if (descriptor->natts != writer->ncolumns)
		return false;
	for (i = 0; i < writer->ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped ||
			attribute->atttypid != writer->columns[i].type ||
			attribute->atttypmod != -1 ||
			strcmp(NameStr(attribute->attname), writer->columns[i].name) != 0)
			return false;
	}
	return true;
}

/* Tell whether the indexes decide at once whether an entry may be. */
static bool
indexes_are_plain(ResultRelInfo *result)
{
	int			i;

	for (i = 0; i < result->ri_NumIndices; i++)
	{
		Form_pg_index index = result->ri_IndexRelationDescs[i]->rd_index;

		if (!index->indimmediate || index->indisexclusion)
			return false;
	}
	return true;
}

/* The name of the rows that were put aside. */
#define ROWS_ASIDE	"meter_rows"

/*
 * Return the statement that inserts the rows that were put aside, in place of
 * those with the same key if there is one.
 */
static char *
insert_statement(const MeterTableWriter *writer)
{
	StringInfoData names;
	StringInfoData sets;
	int			i;

	initStringInfo(&names);
	initStringInfo(&sets);
	for (i = 0; i < writer->ncolumns; i++)
	{
		const char *name = quote_identifier(writer->columns[i].name);
		const char *separator = i > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", separator, name);
		appendStringInfo(&sets, "%s%s = excluded.%s", separator, name, name);
	}
	return psprintf("INSERT INTO %s.%s (%s) SELECT %s FROM " ROWS_ASIDE "%s",
					quote_identifier(writer->schema),
					quote_identifier(writer->table),
					names.data, names.data,
					writer->key == NULL ? "" :
					psprintf(" ON CONFLICT (%s) DO UPDATE SET %s", writer->key,
							 sets.data));
}

/* Begin to put aside rows for what is not plain. */
static void
begin_aside(MeterTableWriter *writer)
{
	MemoryContext before = MemoryContextSwitchTo(writer->context);
	const char **names = palloc(writer->ncolumns * sizeof(char *));
	Oid		   *types = palloc(writer->ncolumns * sizeof(Oid));
	int			i;

	for (i = 0; i < writer->ncolumns; i++)
	{
		names[i] = writer->columns[i].name;
		types[i] = writer->columns[i].type;
	}
	writer->sql = insert_statement(writer);
	meter_begin_rows(&writer->aside, ROWS_ASIDE, writer->ncolumns, names, types);
	MemoryContextSwitchTo(before);
}

/* Tell whether an index is a summary. */
static bool
is_summary(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == BRIN_AM_OID &&
		info->ii_NumIndexAttrs == 1 && info->ii_Expressions == NIL &&
		info->ii_Predicate == NIL &&
		TupleDescAttr(RelationGetDescr(index), 0)->attbyval;
}

/* Put the summaries of a target behind its other indexes. */
static void
find_summaries(Target *target)
{
	ResultRelInfo *result = target->result;
	int			last = result->ri_NumIndices;
	int			i = 0;

	target->nindices = result->ri_NumIndices;
	while (i < last)
	{
		Relation	index = result->ri_IndexRelationDescs[i];
		IndexInfo  *info = result->ri_IndexRelationInfo[i];

		if (!is_summary(index, info))
		{
			i++;
			continue;
		}
		last--;
		result->ri_IndexRelationDescs[i] = result->ri_IndexRelationDescs[last];
		result->ri_IndexRelationInfo[i] = result->ri_IndexRelationInfo[last];
		result->ri_IndexRelationDescs[last] = index;
		result->ri_IndexRelationInfo[last] = info;
	}
	result->ri_NumIndices = last;
	target->summaries = palloc0(Max(target->nindices - last, 1) * sizeof(Summary));
	for (i = last; i < target->nindices; i++)
	{
		Summary    *summary = &target->summaries[i - last];

		summary->index = result->ri_IndexRelationDescs[i];
		summary->info = result->ri_IndexRelationInfo[i];
		summary->block = InvalidBlockNumber;
	}
}

/*
 * Open a table that blocks may be written into.  If it is not plain, it is
 * closed.
 */
static void
open_target(MeterTableWriter *writer, Target *target, Relation relation,
			Role role)
{
	MemoryContext before = MemoryContextSwitchTo(writer->context);

	target->known = true;
	if (is_plain(writer, relation, role))
	{
		target->result = makeNode(ResultRelInfo);
		InitResultRelInfo(target->result, relation, 0, NULL, 0);
		ExecOpenIndices(target->result, false);
		if (indexes_are_plain(target->result))
		{
			target->relation = relation;
			target->bulk = GetBulkInsertState();
			find_summaries(target);
		}
		else
			ExecCloseIndices(target->result);
	}
	if (target->relation == NULL)
		table_close(relation, NoLock);
	MemoryContextSwitchTo(before);
}

/* Close a table that blocks were written into. */
static void
close_target(Target *target)
{
	if (target->relation == NULL)
		return;
	FreeBulkInsertState(target->bulk);
	target->result->ri_NumIndices = target->nindices;
	ExecCloseIndices(target->result);
	table_close(target->relation, NoLock);
}

/*
 * Begin to write into a table, rows of just these columns in this order.  With
 * a key, a list of columns, rows may be written anew.  A partitioned table is so
 * by ranges of one column, and has no such key.
 */
MeterTableWriter *
meter_writer_begin(const char *schema, const char *table,
				   const MeterWriterColumn *columns, int ncolumns,
				   const char *key)
{
	Relation	relation = table_openrv(makeRangeVar(pstrdup(schema),
													 pstrdup(meter_table_name(schema, table)), -1),
										RowExclusiveLock);
	MeterTableWriter *writer = palloc0(sizeof(MeterTableWriter));

	meter_cluster_refuse(schema, table);
	writer->context = CurrentMemoryContext;
	writer->schema = pstrdup(schema);
	writer->table = table;
	writer->columns = columns;
	writer->ncolumns = ncolumns;
	writer->key = key;
	writer->estate = CreateExecutorState();
	writer->block = AllocSetContextCreate(CurrentMemoryContext,
										  "meter block of rows",
										  ALLOCSET_DEFAULT_SIZES);
	if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		writer->relation = relation;
		writer->partition_key = RelationGetPartitionKey(relation);
		writer->partitions = RelationGetPartitionDesc(relation, true);
		writer->parent_is_plain = is_plain(writer, relation, ROLE_PARENT);
		writer->targets = palloc0(Max(writer->partitions->nparts, 1) *
								  sizeof(Target));
		writer->current = -1;
		writer->descriptor = RelationGetDescr(relation);
		return writer;
	}
	open_target(writer, &writer->own, relation, ROLE_TABLE);
	if (writer->own.relation != NULL)
	{
		writer->relation = relation;
		writer->target = &writer->own;
		writer->descriptor = RelationGetDescr(relation);
	}
	else
	{
		begin_aside(writer);
		writer->descriptor = writer->aside.descriptor;
	}
	return writer;
}

/* Return what the rows are made of. */
TupleDesc
meter_writer_descriptor(const MeterTableWriter *writer)
{
	return writer->descriptor;
}

/* Put the entry of a row into a summary, if it adds anything. */
static void
insert_summary(MeterTableWriter *writer, Summary *summary, TupleTableSlot *slot)
{
	BlockNumber block = ItemPointerGetBlockNumber(&slot->tts_tid);
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	FormIndexDatum(summary->info, slot, writer->estate, values, nulls);
	if (summary->block == block && summary->isnull == nulls[0] &&
		(nulls[0] || summary->value == values[0]))
		return;
	index_insert(summary->index, values, nulls, &slot->tts_tid,
				 writer->target->relation, UNIQUE_CHECK_NO, false,
				 summary->info);
	summary->block = block;
	summary->value = values[0];
	summary->isnull = nulls[0];
}

/* Put the entries of a row into the indexes. */
static void
insert_entries(MeterTableWriter *writer, TupleTableSlot *slot, bool update,
			   bool summarizing)
{
	Target	   *target = writer->target;
	int			i;

	if (target->result->ri_NumIndices > 0)
		list_free(METER_INSERT_INDEX_TUPLES(target->result, slot,
											writer->estate, update,
											summarizing));
	for (i = target->result->ri_NumIndices; i < target->nindices; i++)
		insert_summary(writer,
					   &target->summaries[i - target->result->ri_NumIndices],
					   slot);
	ResetPerTupleExprContext(writer->estate);
}

/* Write the rows that were put aside. */
static void
flush_aside(MeterTableWriter *writer)
{
	if (writer->sql == NULL || writer->aside.count == 0)
		return;
	meter_insert_rows(&writer->plan, writer->sql, &writer->aside);
	writer->rows += SPI_processed;
	writer->aside.count = 0;
	tuplestore_clear(writer->aside.store);
}

/* Write the rows of the block. */
static void
flush(MeterTableWriter *writer)
{
	MemoryContext before = MemoryContextSwitchTo(writer->block);
	int			i;

	if (writer->nslots > 0)
		table_multi_insert(writer->target->relation, writer->slots,
						   writer->nslots, GetCurrentCommandId(true), 0,
						   writer->target->bulk);
	for (i = 0; i < writer->nslots; i++)
	{
		insert_entries(writer, writer->slots[i], false, false);
		ExecClearTuple(writer->slots[i]);
	}
	writer->nslots = 0;
	writer->nbytes = 0;
	MemoryContextSwitchTo(before);
	MemoryContextReset(writer->block);
}

/* Fill a slot with a row that the table's constraints allow. */
static void
fill_slot(MeterTableWriter *writer, TupleTableSlot *slot, const Datum *values,
		  const bool *nulls)
{
	int			natts = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writer->target->relation);
	if (RelationGetDescr(writer->target->relation)->constr != NULL)
	{
		ExecConstraints(writer->target->result, slot, writer->estate);
		ResetPerTupleExprContext(writer->estate);
	}
	/* what it points to may go away before the block is written */
	ExecMaterializeSlot(slot);
}

/* Make a slot that lives as long as the writer. */
static TupleTableSlot *
make_slot(MeterTableWriter *writer)
{
	MemoryContext before = MemoryContextSwitchTo(writer->context);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(writer->descriptor,
													table_slot_callbacks(writer->target->relation));

	MemoryContextSwitchTo(before);
	return slot;
}

/*
 * Return the partition that a row belongs to, or -1.  Mostly it is the one of
 * the row before.
 */
static int
find_partition(const MeterTableWriter *writer, Datum value)
{
	PartitionBoundInfo bounds = writer->partitions->boundinfo;
	bool		is_equal;
	int			offset;

	if (writer->partitions->nparts == 0)
		return -1;
	offset = partition_range_datum_bsearch(writer->partition_key->partsupfunc,
										   writer->partition_key->partcollation,
										   bounds, 1, &value, &is_equal);
	return bounds->indexes[offset + 1] >= 0 ?
		bounds->indexes[offset + 1] : bounds->default_index;
}

/*
 * Have rows go to the partition of a row.  Returns false if there is none.
 */
static bool
route(MeterTableWriter *writer, Datum value)
{
	int			partition = find_partition(writer, value);
	Target	   *target;

	if (partition < 0)
		return false;
	if (partition == writer->current)
		return true;
	if (writer->target != NULL)
	{
		flush(writer);
		ReleaseBulkInsertStatePin(writer->target->bulk);
	}
	writer->current = partition;
	writer->target = NULL;
	target = &writer->targets[partition];
	if (!target->known && writer->parent_is_plain)
		open_target(writer, target,
					table_open(writer->partitions->oids[partition],
							   RowExclusiveLock), ROLE_PARTITION);
	if (target->relation != NULL)
		writer->target = target;
	else if (writer->sql == NULL)
		begin_aside(writer);
	return true;
}

/*
 * Write a new row, with the others of its block.  Returns false, and does
 * nothing, if the table is partitioned and has no partition for it.
 */
bool
meter_writer_insert(MeterTableWriter *writer, const Datum *values,
					const bool *nulls)
{
	uint32		length;

	if (writer->partitions != NULL &&
		!route(writer, values[writer->partition_key->partattrs[0] - 1]))
		return false;
	if (writer->target == NULL)
	{
		if (writer->aside.count == BLOCK_ROWS)
			flush_aside(writer);
		meter_add_row(&writer->aside, values, nulls);
		return true;
	}
	if (writer->nslots == BLOCK_ROWS || writer->nbytes >= BLOCK_BYTES)
		flush(writer);
	if (writer->slots[writer->nslots] == NULL)
		writer->slots[writer->nslots] = make_slot(writer);
	fill_slot(writer, writer->slots[writer->nslots], values, nulls);
	length = ExecFetchSlotHeapTuple(writer->slots[writer->nslots], false,
									NULL)->t_len;
	writer->nbytes += length;
	writer->bytes += length;
	writer->nslots++;
	writer->rows++;
	return true;
}

/*
 * Write a row anew that the active snapshot saw at a place.  Nobody else may
 * have changed it.
 */
void
meter_writer_update(MeterTableWriter *writer, ItemPointer tid,
					const Datum *values, const bool *nulls)
{
	MemoryContext before;
	TupleTableSlot *slot;
	TM_FailureData failure;
	TM_Result	outcome;
	bool		update_indexes;
	bool		summarizing;

	Assert(writer->partitions == NULL);
	if (writer->target == NULL)
	{
		(void) meter_writer_insert(writer, values, nulls);
		return;
	}
	before = MemoryContextSwitchTo(writer->block);
	if (writer->update_slot == NULL)
		writer->update_slot = make_slot(writer);
	slot = writer->update_slot;
	fill_slot(writer, slot, values, nulls);
	outcome = METER_TUPLE_UPDATE(writer->target->relation, tid, slot,
								 GetCurrentCommandId(true),
								 GetActiveSnapshot(), &failure,
								 &update_indexes, &summarizing);
	if (outcome != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was changed by somebody else",
						RelationGetRelationName(writer->target->relation)),
				 errhint("Only meter writes to this table.")));
	if (update_indexes)
		insert_entries(writer, slot, true, summarizing);
	ExecClearTuple(slot);
	writer->rows++;
	MemoryContextSwitchTo(before);
	MemoryContextReset(writer->block);
}

/*
 * Write what is left, and close the table.  Returns how many rows were written,
 * and adds the bytes of those written in blocks to a number (NULL: nobody
 * asks).
 */
int64
meter_writer_end(MeterTableWriter *writer, int64 *bytes)
{
	int64		rows;
	int			i;

	if (writer->target != NULL)
		flush(writer);
	flush_aside(writer);
	rows = writer->rows;
	if (bytes != NULL)
		*bytes += writer->bytes;
	if (writer->sql != NULL)
	{
		if (writer->plan != NULL)
			SPI_freeplan(writer->plan);
		tuplestore_end(writer->aside.store);
	}
	for (i = 0; i < BLOCK_ROWS && writer->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	if (writer->update_slot != NULL)
		ExecDropSingleTupleTableSlot(writer->update_slot);
	close_target(&writer->own);
	for (i = 0; writer->partitions != NULL && i < writer->partitions->nparts; i++)
		close_target(&writer->targets[i]);
	if (writer->partitions != NULL)
		table_close(writer->relation, NoLock);
	FreeExecutorState(writer->estate);
	MemoryContextDelete(writer->block);
	pfree(writer);
	return rows;
}
