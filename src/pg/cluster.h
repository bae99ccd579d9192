/*
 * cluster.h
 *	  What Citus knows of the tables of a stream, and does to them.
 */
#ifndef METER_CLUSTER_H
#define METER_CLUSTER_H

#include "nodes/pg_list.h"

/* The least version of Citus that is known to do what is asked of it. */
#define METER_CLUSTER_LEAST	120000
#define METER_CLUSTER_LEAST_NAME	"12.0"

extern bool meter_cluster_is_there(void);
extern int	meter_cluster_shards(const char *schema, const char *table);
extern void meter_cluster_refuse(const char *schema, const char *table);
extern void meter_cluster_require(void);
extern void meter_cluster_distribute(const char *schema, const char *table,
									 const char *column, int shards,
									 const char *beside);
extern void meter_cluster_replicate(const char *schema, const char *table);
extern List *meter_cluster_tables(const char *schema);
extern bool meter_cluster_has(List *tables, const char *table);
extern void meter_cluster_session_in_order(void);
extern void meter_cluster_undistribute(const char *schema, const char *table);
extern void meter_cluster_change_here(const char *sql);
extern void meter_cluster_forget_local(const char *schema, const char *table);
extern bool meter_cluster_prepared(const char *schema, const char *table,
								   Datum *prepared);
extern bool meter_cluster_are_prepared(Datum names);
extern List *meter_cluster_shard_tables(const char *schema, const char *table,
										const char *key);
extern List *meter_cluster_shard_keys(const char *schema, const char *table);

#endif							/* METER_CLUSTER_H */
