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
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "core/core.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "pg/table_writer.h"

/* A block is so many rows, or the rows that fill so many bytes. */
#define BLOCK_ROWS	1000
#define BLOCK_BYTES	(1024 * 1024)

struct MeterTableWriter
{
	TupleDesc	descriptor;		/* of the rows that the caller gives */
	Relation	relation;		/* NULL: the table is not plain */
	EState	   *estate;
	ResultRelInfo *result;
	BulkInsertState bulk;
	TupleTableSlot *slots[BLOCK_ROWS];
	TupleTableSlot *update_slot;
	int			nslots;			/* that are filled */
	Size		nbytes;			/* of their rows */
	int64		bytes;			/* of all rows */
	MemoryContext context;		/* the writer's own */
	MemoryContext block;		/* what a flush allocates */
	int64		rows;

	/* for a table that is not plain */
	char	   *sql;			/* the INSERT */
	SPIPlanPtr	plan;
	MeterRows	aside;
};

/*
 * Tell whether a row of the table is nothing but what the caller puts into it.
 * What was checked before the table was locked is checked again here.
 */
static bool
is_plain(Relation relation, const MeterWriterColumn *columns, int ncolumns,
		 bool updates)
{
	TupleDesc	descriptor = RelationGetDescr(relation);
	TriggerDesc *triggers = relation->trigdesc;
	int			i;

	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relam != HEAP_TABLE_AM_OID ||
		relation->rd_rel->relispartition || relation->rd_rel->relhassubclass ||
		relation->rd_rules != NULL || relation->rd_rel->relforcerowsecurity ||
		relation->rd_rel->relowner != GetUserId())
		return false;
	if (triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		 triggers->trig_insert_before_statement ||
		 triggers->trig_insert_after_statement ||
		 triggers->trig_insert_instead_row ||
		 triggers->trig_insert_new_table ||
		 triggers->trig_update_before_row || triggers->trig_update_after_row ||
		 triggers->trig_update_new_table || triggers->trig_update_old_table))
		return false;
	if (updates && triggers != NULL &&
		(triggers->trig_update_before_statement ||
		 triggers->trig_update_after_statement))
		return false;
	if (descriptor->constr != NULL && descriptor->constr->has_generated_stored)
		return false;
	if (descriptor->natts != ncolumns)
		return false;
	for (i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped ||
			attribute->atttypid != columns[i].type ||
			attribute->atttypmod != -1 ||
			strcmp(NameStr(attribute->attname), columns[i].name) != 0)
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
insert_statement(const char *schema, const char *table,
				 const MeterWriterColumn *columns, int ncolumns,
				 const char *key)
{
	StringInfoData names;
	StringInfoData sets;
	int			i;

	initStringInfo(&names);
	initStringInfo(&sets);
	for (i = 0; i < ncolumns; i++)
	{
		const char *name = quote_identifier(columns[i].name);
		const char *separator = i > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", separator, name);
		appendStringInfo(&sets, "%s%s = excluded.%s", separator, name, name);
	}
	return psprintf("INSERT INTO %s.%s (%s) SELECT %s FROM " ROWS_ASIDE "%s",
					quote_identifier(schema), quote_identifier(table),
					names.data, names.data,
					key == NULL ? "" :
					psprintf(" ON CONFLICT (%s) DO UPDATE SET %s", key,
							 sets.data));
}

/* Begin to put aside rows for a table that is not plain. */
static void
begin_aside(MeterTableWriter *writer, const char *schema, const char *table,
			const MeterWriterColumn *columns, int ncolumns, const char *key)
{
	const char **names = palloc(ncolumns * sizeof(char *));
	Oid		   *types = palloc(ncolumns * sizeof(Oid));
	int			i;

	for (i = 0; i < ncolumns; i++)
	{
		names[i] = columns[i].name;
		types[i] = columns[i].type;
	}
	writer->sql = insert_statement(schema, table, columns, ncolumns, key);
	meter_begin_rows(&writer->aside, ROWS_ASIDE, ncolumns, names, types);
	writer->descriptor = writer->aside.descriptor;
}

/*
 * Begin to write into a table, rows of just these columns in this order.  With
 * a key, a list of columns, rows may be written anew.
 */
MeterTableWriter *
meter_writer_begin(const char *schema, const char *table,
				   const MeterWriterColumn *columns, int ncolumns,
				   const char *key)
{
	Relation	relation = table_openrv(makeRangeVar(pstrdup(schema),
													 pstrdup(table), -1),
										RowExclusiveLock);
	MeterTableWriter *writer = palloc0(sizeof(MeterTableWriter));

	writer->context = CurrentMemoryContext;
	if (is_plain(relation, columns, ncolumns, key != NULL))
	{
		writer->result = makeNode(ResultRelInfo);
		InitResultRelInfo(writer->result, relation, 0, NULL, 0);
		ExecOpenIndices(writer->result, false);
		if (indexes_are_plain(writer->result))
		{
			writer->relation = relation;
			writer->descriptor = RelationGetDescr(relation);
			writer->estate = CreateExecutorState();
			writer->bulk = GetBulkInsertState();
			writer->block = AllocSetContextCreate(CurrentMemoryContext,
												  "meter block of rows",
												  ALLOCSET_DEFAULT_SIZES);
			return writer;
		}
		ExecCloseIndices(writer->result);
	}
	table_close(relation, NoLock);
	begin_aside(writer, schema, table, columns, ncolumns, key);
	return writer;
}

/* Return what the rows are made of. */
TupleDesc
meter_writer_descriptor(const MeterTableWriter *writer)
{
	return writer->descriptor;
}

/* Put the entries of a row into the indexes. */
static void
insert_entries(MeterTableWriter *writer, TupleTableSlot *slot, bool update,
			   bool summarizing)
{
	if (writer->result->ri_NumIndices > 0)
		list_free(METER_INSERT_INDEX_TUPLES(writer->result, slot,
											writer->estate, update,
											summarizing));
	ResetPerTupleExprContext(writer->estate);
}

/* Write the rows that were put aside. */
static void
flush_aside(MeterTableWriter *writer)
{
	if (writer->aside.count == 0)
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
		table_multi_insert(writer->relation, writer->slots, writer->nslots,
						   GetCurrentCommandId(true), 0, writer->bulk);
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
	slot->tts_tableOid = RelationGetRelid(writer->relation);
	if (RelationGetDescr(writer->relation)->constr != NULL)
	{
		ExecConstraints(writer->result, slot, writer->estate);
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
	TupleTableSlot *slot = table_slot_create(writer->relation, NULL);

	MemoryContextSwitchTo(before);
	return slot;
}

/* Write a new row, with the others of its block. */
void
meter_writer_insert(MeterTableWriter *writer, const Datum *values,
					const bool *nulls)
{
	uint32		length;

	if (writer->relation == NULL)
	{
		if (writer->aside.count == BLOCK_ROWS)
			flush_aside(writer);
		meter_add_row(&writer->aside, values, nulls);
		return;
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

	if (writer->relation == NULL)
	{
		meter_writer_insert(writer, values, nulls);
		return;
	}
	before = MemoryContextSwitchTo(writer->block);
	if (writer->update_slot == NULL)
		writer->update_slot = make_slot(writer);
	slot = writer->update_slot;
	fill_slot(writer, slot, values, nulls);
	outcome = METER_TUPLE_UPDATE(writer->relation, tid, slot,
								 GetCurrentCommandId(true),
								 GetActiveSnapshot(), &failure,
								 &update_indexes, &summarizing);
	if (outcome != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a row of table \"%s\" was changed by somebody else",
						RelationGetRelationName(writer->relation)),
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

	if (writer->relation == NULL)
	{
		flush_aside(writer);
		rows = writer->rows;
		if (writer->plan != NULL)
			SPI_freeplan(writer->plan);
		tuplestore_end(writer->aside.store);
		pfree(writer);
		return rows;
	}
	rows = writer->rows;
	if (bytes != NULL)
		*bytes += writer->bytes;
	flush(writer);
	for (i = 0; i < BLOCK_ROWS && writer->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	if (writer->update_slot != NULL)
		ExecDropSingleTupleTableSlot(writer->update_slot);
	FreeBulkInsertState(writer->bulk);
	ExecCloseIndices(writer->result);
	FreeExecutorState(writer->estate);
	table_close(writer->relation, NoLock);
	MemoryContextDelete(writer->block);
	pfree(writer);
	return rows;
}
