/*
 * batch.h
 *	  Batches: the usage that a consumer gets at a time.
 */
#ifndef METER_BATCH_H
#define METER_BATCH_H

#include "utils/tuplestore.h"

#include "catalog/consumer.h"

extern int64 meter_batch_gather(MeterConsumer *consumer, int64 batch,
								int64 max_rows, Tuplestorestate *store,
								TupleDesc descriptor);
extern int64 meter_batch_repeat(MeterConsumer *consumer,
								Tuplestorestate *store, TupleDesc descriptor);

extern bool meter_batch_backlog(const MeterConsumer *consumer,
								int64 *settlements, int64 *rows,
								TimestampTz *oldest);

#endif							/* METER_BATCH_H */
