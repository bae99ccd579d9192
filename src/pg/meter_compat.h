/*
 * meter_compat.h
 *	  Every difference between the supported server versions, one define or
 *	  shim for each fact, so that no other file asks for a version.
 */
#ifndef METER_COMPAT_H
#define METER_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 140000
#error "meter needs PostgreSQL 14 or later"
#endif

/* 15: shared memory is asked for in a hook, before that on loading */
#if PG_VERSION_NUM >= 150000
#define METER_CHAIN_SHMEM_REQUEST(previous, request) \
	(previous = shmem_request_hook, shmem_request_hook = request)
#else
typedef void (*shmem_request_hook_type) (void);
#define METER_CHAIN_SHMEM_REQUEST(previous, request) (previous = NULL, request())
#endif

/* pg_upgrade goes from one of these to another */
#define METER_MAJOR_VERSION	(PG_VERSION_NUM / 10000)

/* 15: the timeline of a server that is not in recovery has a function */
#if PG_VERSION_NUM >= 150000
#define METER_CURRENT_TIMELINE()	GetWALInsertionTimeLine()
#else
/* RecoveryInProgress() was asked: it sets this */
#define METER_CURRENT_TIMELINE()	ThisTimeLineID
#endif

/* 15: prefixes of settings can be reserved */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 16: varlena macros have a header of their own */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16: what settings keep is freed by their own function */
#if PG_VERSION_NUM >= 160000
#define meter_guc_alloc(size) guc_malloc(LOG, size)
#else
#define meter_guc_alloc(size) malloc(size)
#endif

/* 16: input functions can fail softly */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define meter_ereturn(context, result, ...) ereturn(context, result, __VA_ARGS__)
#else
#define meter_ereturn(context, result, ...) \
	do { (void) (context); ereport(ERROR, __VA_ARGS__); } while (0)
#endif

/* 16: making a range can fail softly */
#if PG_VERSION_NUM >= 160000
#define meter_make_range(typcache, lower, upper) \
	make_range(typcache, lower, upper, false, NULL)
#else
#define meter_make_range(typcache, lower, upper) \
	make_range(typcache, lower, upper, false)
#endif

/* 16: one function checks privileges and ownership on all kinds of objects */
#if PG_VERSION_NUM < 160000
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "utils/acl.h"
#define meter_schema_ownercheck(oid, role) pg_namespace_ownercheck(oid, role)
#define meter_database_aclcheck(oid, role, mode) \
	pg_database_aclcheck(oid, role, mode)
#define meter_schema_aclcheck(oid, role, mode) \
	pg_namespace_aclcheck(oid, role, mode)
#else
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "utils/acl.h"
#define meter_schema_ownercheck(oid, role) \
	object_ownercheck(NamespaceRelationId, oid, role)
#define meter_database_aclcheck(oid, role, mode) \
	object_aclcheck(DatabaseRelationId, oid, role, mode)
#define meter_schema_aclcheck(oid, role, mode) \
	object_aclcheck(NamespaceRelationId, oid, role, mode)
#endif

/* 15: a sort takes options, before that whether it is read at random */
#if PG_VERSION_NUM >= 150000
#define METER_BEGIN_SORT(descriptor, nkeys, keys, operators, collations, nulls_first, memory) \
	tuplesort_begin_heap(descriptor, nkeys, keys, operators, collations, \
						 nulls_first, memory, NULL, TUPLESORT_NONE)
#else
#define METER_BEGIN_SORT(descriptor, nkeys, keys, operators, collations, nulls_first, memory) \
	tuplesort_begin_heap(descriptor, nkeys, keys, operators, collations, \
						 nulls_first, memory, NULL, false)
#endif

/* 16: index entries and updates tell of indexes that only summarize */
#if PG_VERSION_NUM >= 160000
#define METER_INSERT_INDEX_TUPLES(result, slot, estate, update, summarizing) \
	ExecInsertIndexTuples(result, slot, estate, update, false, NULL, NIL, \
						  summarizing)
#define METER_TUPLE_UPDATE(relation, tid, slot, command, snapshot, failure, indexes, summarizing) \
	({ \
		LockTupleMode lock_; \
		TU_UpdateIndexes which_; \
		TM_Result	result_ = table_tuple_update(relation, tid, slot, command, \
												 snapshot, InvalidSnapshot, \
												 true, failure, &lock_, \
												 &which_); \
		*(indexes) = which_ != TU_None; \
		*(summarizing) = which_ == TU_Summarizing; \
		result_; \
	})
#else
#define METER_INSERT_INDEX_TUPLES(result, slot, estate, update, summarizing) \
	((void) (summarizing), \
	 ExecInsertIndexTuples(result, slot, estate, update, false, NULL, NIL))
#define METER_TUPLE_UPDATE(relation, tid, slot, command, snapshot, failure, indexes, summarizing) \
	({ \
		LockTupleMode lock_; \
		*(summarizing) = false; \
		table_tuple_update(relation, tid, slot, command, snapshot, \
						   InvalidSnapshot, true, failure, &lock_, indexes); \
	})
#endif

/* 18: scans of an index may be counted, and deferrable keys asked for */
#if PG_VERSION_NUM >= 180000
#define METER_INDEX_BEGINSCAN(relation, index, snapshot, nkeys) \
	index_beginscan(relation, index, snapshot, NULL, nkeys, 0)
#define METER_PRIMARY_KEY_INDEX(relation) \
	RelationGetPrimaryKeyIndex(relation, false)
#else
#define METER_INDEX_BEGINSCAN(relation, index, snapshot, nkeys) \
	index_beginscan(relation, index, snapshot, nkeys, 0)
#define METER_PRIMARY_KEY_INDEX(relation) RelationGetPrimaryKeyIndex(relation)
#endif

/* 17: waits of extensions have names */
#if PG_VERSION_NUM >= 170000
#define METER_WAIT_EVENT(name) WaitEventExtensionNew(name)
#else
#define METER_WAIT_EVENT(name) PG_WAIT_EXTENSION
#endif

/* 18: what never returns is marked before the declaration */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 18: a module says more of itself */
#if PG_VERSION_NUM >= 180000
#define METER_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "meter", .version = METER_VERSION)
#else
#define METER_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif							/* METER_COMPAT_H */
