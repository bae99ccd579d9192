/*
 * consumer.h
 *	  Consumers: named readers of a ledger, and how far each has read.
 */
#ifndef METER_CONSUMER_H
#define METER_CONSUMER_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "types/transaction_id.h"

/* How far the usage of a meter was read. */
typedef struct MeterReadUpTo
{
	int64		settlement;
	bool		part;			/* of that settlement only rows up to `id` */
	pg_uuid_t	id;
	int64		rows;			/* of that part */
} MeterReadUpTo;

/* A meter that a consumer reads. */
typedef struct MeterReading
{
	char	   *meter;
	MeterReadUpTo read;			/* in batches that were finished */
	bool		in_batch;		/* the open batch goes on from there */
	MeterReadUpTo batch;		/* up to here */
	int64		last;			/* the last settlement that there is */
} MeterReading;

typedef struct MeterConsumer
{
	const char *stream;
	const char *name;
	char	  **meters;			/* NULL: all */
	int			nmeters;
	bool		any_batch;		/* there was a batch */
	int64		batch;			/* the last one, or that which is open */
	bool		open;
	List	   *readings;		/* of MeterReading */
} MeterConsumer;

extern bool meter_consumer_load(MeterConsumer *consumer, const char *stream,
								const char *name);
extern void meter_consumer_look(MeterConsumer *consumer);
extern MeterReading *meter_consumer_reading(MeterConsumer *consumer,
											const char *meter);
extern bool meter_has_unread(const MeterReading *reading);
extern void meter_consumer_create(MeterConsumer *consumer, Datum meters);
extern bool meter_consumer_drop(const char *stream, const char *name);
extern bool meter_consumer_lock(const char *stream, const char *name);
extern int64 meter_next_batch_number(void);
extern void meter_consumer_open(const MeterConsumer *consumer, int64 batch);
extern void meter_consumer_pass(const MeterConsumer *consumer);
extern bool meter_consumer_finish(const char *stream, const char *name,
								  int64 batch);
extern char *meter_consumer_that_needs(const char *stream,
									   const pg_uuid_t *low,
									   const pg_uuid_t *high);

#endif							/* METER_CONSUMER_H */
