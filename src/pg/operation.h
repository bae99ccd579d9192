/*
 * operation.h
 *	  How far long operations are, for other sessions to see.
 */
#ifndef METER_OPERATION_H
#define METER_OPERATION_H

#include "datatype/timestamp.h"

#include "pg/worker_slot.h"

/* So many operations of the server are shown at a time; of more, the first. */
#define METER_OPERATIONS 256

/* Nobody knows how much there is to do. */
#define METER_TOTAL_UNKNOWN	(-1)

/* Others see every so many rows. */
#define METER_OPERATION_ROWS	4096

/* A long operation of a process. */
typedef struct MeterOperation
{
	int			pid;			/* 0: the place is free */
	Oid			database;
	char		kind[16];
	char		stream[NAMEDATALEN];
	char		meter[METER_SLOT_TEXT]; /* empty: it is of the stream */
	char		phase[48];
	int64		done;			/* of the phase */
	int64		total;			/* or METER_TOTAL_UNKNOWN */
	TimestampTz began;
	TimestampTz phase_began;
} MeterOperation;

/* Rows of the phase at hand, most of them not told yet. */
extern int64 meter_operation_rows;

extern void meter_operations_share(void);
extern int	meter_operations_copy(MeterOperation **operations);
extern bool meter_operation_begin(const char *kind, const char *stream,
								  const char *meter);
extern void meter_operation_phase(const char *phase, int64 total);
extern void meter_operation_done(int64 done);
extern void meter_operation_end(bool own_one);

/* Count a row of the phase at hand. */
static inline void
meter_operation_count(void)
{
	if (++meter_operation_rows % METER_OPERATION_ROWS == 0)
		meter_operation_done(meter_operation_rows);
}

#endif							/* METER_OPERATION_H */
