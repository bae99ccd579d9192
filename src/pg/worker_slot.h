/*
 * worker_slot.h
 *	  What launcher and workers know of each other, in shared memory.
 */
#ifndef METER_WORKER_SLOT_H
#define METER_WORKER_SLOT_H

#include <signal.h>

#include "datatype/timestamp.h"
#include "storage/latch.h"

#define METER_SLOTS 512
#define METER_SLOT_TEXT 256

/* Streams of a database whose steps took longest lately, as far as is known */
#define METER_SLOW_STREAMS 16

typedef enum MeterSlotState
{
	METER_SLOT_WAITING,
	METER_SLOT_STARTING,		/* a worker was asked for */
	METER_SLOT_RUNNING,
	METER_SLOT_STUCK			/* obeys no signal: another has its place */
} MeterSlotState;

/* How a turn ended */
typedef enum MeterTurnResult
{
	METER_TURN_NONE,			/* there was none yet */
	METER_TURN_SETTLED,			/* something was written */
	METER_TURN_NOTHING_DUE,
	METER_TURN_UNFINISHED,		/* more is due at once */
	METER_TURN_METER_FAILED,	/* at least one; the others went on */
	METER_TURN_GAVE_WAY,		/* to DROP DATABASE, DROP EXTENSION, … */
	METER_TURN_STOPPED,			/* by a signal */
	METER_TURN_TERMINATED,		/* by the launcher: a step obeyed no cancel */
	METER_TURN_NO_EXTENSION,
	METER_TURN_NO_METER,
	METER_TURN_READ_ONLY,		/* the database's transactions are read only */
	METER_TURN_FAILED
} MeterTurnResult;

/* What steps did, summed */
typedef struct MeterTally
{
	int64		steps;
	int64		usage_rows;
	int64		adjustments;
	int64		late_rows;
	int64		errors;
} MeterTally;

/* How long steps of a stream took lately: halved each naptime */
typedef struct MeterStreamTime
{
	uint32		stream;			/* hash of its name */
	int64		microseconds;	/* 0: no stream */
	TimestampTz at;				/* when it was halved last */
} MeterStreamTime;

/* What a worker is at: a step of a meter, or of maintenance */
typedef struct MeterSlotStep
{
	char		stream[NAMEDATALEN];	/* empty: no step */
	char		meter[METER_SLOT_TEXT]; /* empty: maintenance */
	TimestampTz began;
	volatile sig_atomic_t canceled; /* set by signal handlers of the worker */
	TimestampTz canceled_at;	/* when the launcher saw that; 0: not yet */
	TimestampTz terminated_at;	/* when the launcher told it to end; 0: not */
} MeterSlotStep;

/* What is known of a stream before a step of it */
typedef struct MeterStreamLoad
{
	bool		slow;			/* its steps take long */
	int64		microseconds;	/* how long they took lately */
	int			workers;		/* others that are at it, stuck ones, too */
	int			slow_workers;	/* others that are at slow streams */
} MeterStreamLoad;

typedef struct MeterSlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	int			number;			/* of the workers of the database, from 1; 0:
								 * stuck */
	uint64		serial;			/* of the claim; grows with each claim */
	MeterSlotState state;
	int			pid;			/* while running */
	bool		woken;			/* since the running turn listed its meters */
	int			meters;			/* that the running turn listed; 0: not yet */
	int			due_meters;		/* of these, with which it is not done */
	int			next_meter;		/* of the database, where turns go on; in the
								 * slot of the first worker */
	MeterSlotStep step;
	bool		unrecorded;		/* the step was terminated, and its meter does
								 * not say so yet */
	MeterStreamTime times[METER_SLOW_STREAMS];	/* of the database, in the
												 * slot of the first worker */
	int			quiet_turns;	/* in a row without work, or failed */
	TimestampTz next_due;
	TimestampTz reserved_at;
	TimestampTz last_start;
	TimestampTz last_end;
	MeterTurnResult result;
	int64		turns;
	MeterTally	tally;
	TimestampTz last_error_at;
	char		last_error[METER_SLOT_TEXT];
} MeterSlot;

/* Names one claim of a slot; what is done with an outdated one is ignored */
typedef struct MeterSlotRef
{
	int			index;
	uint64		serial;
	Oid			database;
} MeterSlotRef;

extern void meter_slots_share(void);
extern bool meter_slots_exist(void);
extern int	meter_slots_copy(MeterSlot **slots);
extern char *meter_slot_readable(const char *text);
extern uint64 meter_slots_serial(void);
extern void meter_slots_forget(bool (*exists) (Oid database), uint64 until);
extern void meter_slots_hasten(void);
extern bool meter_slots_have_room(void);
extern void meter_slots_set_room(bool room);

extern void meter_launcher_attach(Latch *latch);
extern int	meter_launcher_pid(void);

extern bool meter_slot_reserve(Oid database, int number, int quiet_turns,
							   MeterSlotRef *ref);
extern void meter_slot_release(const MeterSlotRef *ref);
extern bool meter_slot_abandon(const MeterSlotRef *ref, TimestampTz before);
extern bool meter_slot_attach(const MeterSlotRef *ref);
extern bool meter_slot_take_wake(const MeterSlotRef *ref);
extern int	meter_slot_next_meter(const MeterSlotRef *ref);
extern void meter_slot_note_turn(const MeterSlotRef *ref, int meters,
								 int due_meters, int next_meter);
extern void meter_slot_begin_step(const MeterSlotRef *ref, const char *stream,
								  const char *meter);
extern void meter_slot_end_step(const MeterSlotRef *ref);
extern void meter_slot_stream_load(const MeterSlotRef *ref, const char *stream,
								   MeterStreamLoad *load);
extern bool meter_slot_take_unrecorded(const MeterSlotRef *ref,
									   MeterSlotStep *step);
extern void meter_slot_note_cancel(void);
extern void meter_slot_count(const MeterSlotRef *ref, const MeterTally *step);
extern void meter_slot_note_error(const MeterSlotRef *ref, const char *text);
extern void meter_slot_finish(const MeterSlotRef *ref,
							  MeterTurnResult result);
extern void meter_slot_wake(Oid database);

/* What the launcher did with a worker that obeyed no signal */
typedef enum MeterEnforced
{
	METER_ENFORCED_NOTHING,
	METER_ENFORCED_TERMINATION, /* told it to end */
	METER_ENFORCED_PLACE		/* gave its place to another */
} MeterEnforced;

extern MeterEnforced meter_slots_enforce(TimestampTz now, MeterSlot *slot,
										 TimestampTz *next);

#endif
