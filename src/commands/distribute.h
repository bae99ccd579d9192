/*
 * distribute.h
 *	  Tables of a stream over the nodes of a cluster.
 */
#ifndef METER_DISTRIBUTE_H
#define METER_DISTRIBUTE_H

extern void meter_distribute_new_tables(const char *stream);

#endif							/* METER_DISTRIBUTE_H */
